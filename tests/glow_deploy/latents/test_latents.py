from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import bits_per_dim, pixels_to_x
from glow_deploy.latents import (
    EncodeSettings,
    Latents,
    PictureBatch,
    SampleSettings,
    class_log_prob,
    class_posterior,
    concatenate_samples,
    decode_latents,
    dequantisation,
    encode_images,
    encode_stream,
    load_latents,
    noise,
    sample,
    save_latents,
)
from glow_deploy.protocol import EngineDetails, TensorSpec

SHAPES = ((2, 2, 2), (4, 1, 1))
IMAGE = (3, 2, 2)
DIMS = 12
N_BITS = 5
CLASSES = 9


class LinearFlow:
    """A flow with a density that is known: z = A x + b, in float64 inside; an engine outside."""

    def __init__(self, role, *, classes=False, dtype="float32", spoil=None):
        rng = np.random.default_rng(3)
        self.a = rng.normal(size=(DIMS, DIMS)) + 4 * np.eye(DIMS)
        self.b = rng.normal(size=DIMS)
        self.role = role
        self.n_bits = N_BITS
        self.num_classes = CLASSES if classes else None
        self.spoil = spoil or (lambda z: np.zeros(len(z), bool))
        self.batches: list[int] = []
        zs = tuple(TensorSpec(name=f"z{i}", dtype=dtype, shape=s) for i, s in enumerate(SHAPES, 1))
        x = (TensorSpec(name="x", dtype=dtype, shape=IMAGE),)
        y = (TensorSpec(name="y", dtype="int64", shape=()),) if classes else ()
        log_prob = (TensorSpec(name="log_prob", dtype=dtype, shape=()),)
        self.inputs, self.outputs = (x + y, zs + log_prob) if role == "encoder" else (zs + y, x)
        self.details = EngineDetails(
            backend="linear", provider="numpy", device="cpu", precision="fp64", tf32=False, versions={}
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert list(feeds) == [spec.name for spec in self.inputs]
        for spec in self.inputs:
            assert feeds[spec.name].dtype == spec.dtype
            assert feeds[spec.name].shape[1:] == spec.shape
        shift = feeds["y"][:, None].astype(float) if "y" in feeds else 0.0
        kind = self.outputs[0].dtype
        if self.role == "encoder":
            x = feeds["x"].reshape(len(feeds["x"]), -1).astype(float)
            self.batches.append(len(x))
            z = x @ self.a.T + self.b + shift
            log_prob = -0.5 * (z**2).sum(1) - 0.5 * DIMS * math.log(2 * math.pi) + np.linalg.slogdet(self.a)[1]
            return {
                "z1": z[:, :8].reshape(-1, *SHAPES[0]).astype(kind),
                "z2": z[:, 8:].reshape(-1, *SHAPES[1]).astype(kind),
                "log_prob": log_prob.astype(kind),
            }
        z = np.concatenate([feeds[f"z{i}"].reshape(len(feeds["z1"]), -1) for i in (1, 2)], axis=1).astype(float)
        self.batches.append(len(z))
        x = np.linalg.solve(self.a, (z - shift - self.b).T).T
        x[self.spoil(z)] = np.nan
        return {"x": x.reshape(-1, *IMAGE).astype(kind)}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def flat(z) -> np.ndarray:
    return np.concatenate([level.reshape(len(level), -1) for level in z], axis=1)


# --- noise

PINNED = [0.3051562, 0.8958744, 0.4175329, -1.3096249, 0.9269998, 0.5844585]


def test_noise_is_the_same_in_every_release_of_numpy():
    z1, z2 = noise(7, [0, 5], SHAPES)
    assert z1.dtype == z2.dtype == np.float32
    assert z1.shape == (2, 2, 2, 2)
    assert z2.shape == (2, 4, 1, 1)
    np.testing.assert_array_equal(z1[1, 0, 0], np.float32(PINNED[:2]))
    np.testing.assert_array_equal(z2[1, :2, 0, 0], np.float32(PINNED[2:4]))
    np.testing.assert_array_equal(dequantisation(7, [5], (2,))[0], np.float32(PINNED[4:]))


def test_noise_depends_on_seed_and_index_alone():
    whole = flat(noise(1, np.arange(20), SHAPES))
    for start, stop in [(0, 3), (3, 4), (4, 20)]:
        np.testing.assert_array_equal(flat(noise(1, np.arange(start, stop), SHAPES)), whole[start:stop])
    rows = np.concatenate(
        [
            whole,
            flat(noise(2, np.arange(20), SHAPES)),
            flat(noise(1, np.arange(20), SHAPES, attempt=1)),
            flat(noise(2**64 - 1, np.arange(20), SHAPES)),
        ]
    )
    assert len(np.unique(rows, axis=0)) == 80
    assert np.unique(rows).size > 0.999 * rows.size


def test_noise_is_standard_normal_and_uniform():
    z = flat(noise(0, np.arange(4000), SHAPES)).astype(float)
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size)
    covariance = np.cov(z.T) - np.eye(DIMS)
    assert np.abs(covariance).max() < 5 / math.sqrt(len(z))
    u = dequantisation(0, np.arange(4000), IMAGE)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * u.size)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed):
    with pytest.raises(UsageError, match=r"seed must be 0 to 2\^64-1"):
        noise(seed, [0], SHAPES)
    with pytest.raises(UsageError, match="seed"):
        SampleSettings(seed=seed)


# --- sampling


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_samples_do_not_depend_on_the_batch_size(batch):
    reference = concatenate_samples(sample(LinearFlow("decoder"), count=8, settings=SampleSettings(batch=8)))
    engine = LinearFlow("decoder")
    got = concatenate_samples(sample(engine, count=8, settings=SampleSettings(batch=batch)))
    assert max(engine.batches) <= batch
    np.testing.assert_array_equal(flat(got.z), flat(reference.z))
    np.testing.assert_allclose(got.x, reference.x, atol=1e-6)
    tail = concatenate_samples(sample(LinearFlow("decoder"), count=3, start=5))
    np.testing.assert_array_equal(flat(tail.z), flat(reference.z)[5:])
    assert tail.indices.tolist() == [5, 6, 7]


def test_temperature_scales_every_latent_once():
    def draw(temperature):
        settings = SampleSettings(temperature=temperature, seed=3)
        return flat(concatenate_samples(sample(LinearFlow("decoder"), count=4, settings=settings)).z)

    np.testing.assert_array_equal(draw(1.0), flat(noise(3, np.arange(4), SHAPES)))
    np.testing.assert_array_equal(draw(0.5), np.float32(0.5) * draw(1.0))
    assert not draw(0.0).any()
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="temperature"):
            SampleSettings(temperature=bad)


def test_non_finite_decodes_are_counted_and_redrawn():
    def spoil(z):
        return z[:, 0] > 0.4

    settings = SampleSettings(temperature=1.0, batch=16)
    got = concatenate_samples(sample(LinearFlow("decoder", spoil=spoil), count=200, settings=settings))
    assert np.isfinite(got.x).all()
    assert not spoil(flat(got.z)).any()
    first = spoil(flat(noise(0, np.arange(200), SHAPES)))
    assert got.redrawn == first.sum() > 40
    np.testing.assert_array_equal(got.attempts > 0, first)
    assert got.nonfinite == got.attempts.sum() > got.redrawn
    # x belongs to the z that is handed out, and a redraw depends on (seed, i) alone as well.
    again = decode_latents(LinearFlow("decoder"), got.z).x
    np.testing.assert_allclose(again, got.x, atol=1e-6)
    other = concatenate_samples(
        sample(LinearFlow("decoder", spoil=spoil), count=200, settings=SampleSettings(temperature=1.0, batch=7))
    )
    np.testing.assert_array_equal(flat(other.z), flat(got.z))
    # Control: without spoiling nothing is redrawn.
    assert concatenate_samples(sample(LinearFlow("decoder"), count=200, settings=settings)).redrawn == 0


def test_sampling_gives_up():
    engine = LinearFlow("decoder", spoil=lambda z: np.ones(len(z), bool))
    with pytest.raises(UnsoundModelError, match=r"sample 0 decodes to non-finite values at temperature 0\.7 in 6 of 6"):
        list(sample(engine, count=3, settings=SampleSettings(max_redraws=5)))
    with pytest.raises(UnsoundModelError, match="1 of 1"):
        list(sample(engine, count=3, settings=SampleSettings(temperature=0)))


def test_sampling_is_lazy_and_reports_progress():
    engine, seen = LinearFlow("decoder"), []
    batches = sample(
        engine, count=10**9, settings=SampleSettings(batch=4), progress=lambda done, total: seen.append((done, total))
    )
    next(batches)
    next(batches)
    assert engine.batches == [4, 4]
    assert seen == [(4, 10**9), (8, 10**9)]


def test_float64_engines_get_the_same_latents():
    double = concatenate_samples(sample(LinearFlow("decoder", dtype="float64"), count=4))
    single = concatenate_samples(sample(LinearFlow("decoder"), count=4))
    assert double.x.dtype == np.float64
    np.testing.assert_array_equal(flat(double.z), flat(single.z))


def test_class_labels():
    engine = LinearFlow("decoder", classes=True)
    got = concatenate_samples(sample(engine, count=5, settings=SampleSettings(labels=(2, 7), batch=3)))
    assert got.labels.tolist() == [2, 7, 2, 7, 2]
    same = concatenate_samples(sample(engine, count=5, settings=SampleSettings(labels=(2,), batch=3)))
    assert np.abs(same.x - got.x).max(axis=(1, 2, 3)).astype(bool).tolist() == [False, True, False, True, False]
    with pytest.raises(UsageError, match="is class-conditional"):
        sample(engine, count=5)
    with pytest.raises(UsageError, match="not class-conditional"):
        sample(LinearFlow("decoder"), count=5, settings=SampleSettings(labels=(1,)))
    for label in (9, 2**62):
        with pytest.raises(DataError, match=f"no class {label}: this model knows 0 to 8"):
            sample(engine, count=1, settings=SampleSettings(labels=(0, label)))
    with pytest.raises(UsageError, match="0 or more"):
        SampleSettings(labels=(0, -1))
    assert engine.batches == [3, 2] * 2  # nothing ran for those


def test_wrong_role():
    with pytest.raises(UsageError, match="sampling needs a decoder, this engine is the encoder"):
        sample(LinearFlow("encoder"), count=1)
    with pytest.raises(UsageError, match="encoding needs an encoder"):
        encode_images(LinearFlow("decoder"), np.zeros((1, *IMAGE), np.uint8))
    with pytest.raises(UsageError, match="decoding needs a decoder"):
        decode_latents(LinearFlow("encoder"), noise(0, [0], SHAPES))
    with pytest.raises(UsageError, match="number of samples"):
        sample(LinearFlow("decoder"), count=0)


# --- encoding and decoding


def pictures(n=9) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, *IMAGE), dtype=np.uint8)


def test_encode_figures():
    values = pictures()
    latents = encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(batch=4, draws=3, seed=5))
    assert latents.names == tuple("012345678")
    exact = LinearFlow("encoder", dtype="float64")
    x = pixels_to_x(values >> 3, N_BITS)
    want = exact.run({"x": x.astype(float)})
    np.testing.assert_allclose(
        flat(latents.z), np.concatenate([want["z1"].reshape(9, -1), want["z2"].reshape(9, -1)], 1), rtol=1e-6
    )
    np.testing.assert_allclose(latents.log_prob, want["log_prob"], rtol=1e-6)
    np.testing.assert_allclose(latents.bits_per_dim_centre, N_BITS - want["log_prob"] / (DIMS * math.log(2)), rtol=1e-6)
    mean = 0.0
    for draw in range(3):
        noisy = pixels_to_x(values >> 3, N_BITS, u=dequantisation(5, np.arange(9), IMAGE, draw=draw))
        mean = mean + bits_per_dim(exact.run({"x": noisy.astype(float)})["log_prob"], dims=DIMS, n_bits=N_BITS) / 3
    np.testing.assert_allclose(latents.bits_per_dim, mean, rtol=1e-6)
    assert np.abs(latents.bits_per_dim - latents.bits_per_dim_centre).max() > 1e-4


def test_encoding_does_not_depend_on_the_batches():
    values = pictures()
    one = encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(batch=100))
    parts = list(encode_stream(LinearFlow("encoder"), (PictureBatch(values=values[i : i + 2]) for i in range(0, 9, 2))))
    np.testing.assert_allclose(np.concatenate([part.bits_per_dim for part in parts]), one.bits_per_dim, rtol=1e-6)
    tail = encode_images(LinearFlow("encoder"), values[4:], start=4)
    np.testing.assert_allclose(tail.bits_per_dim, one.bits_per_dim[4:], rtol=1e-6)
    # Control: other noise gives another figure.
    shifted = encode_images(LinearFlow("encoder"), values[4:], start=0)
    assert np.abs(shifted.bits_per_dim - one.bits_per_dim[4:]).max() > 1e-4
    assert encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(draws=0)).bits_per_dim is None


def test_encode_then_decode_gives_the_pixels_back():
    values = pictures()
    latents = encode_images(LinearFlow("encoder", classes=True), values, labels=np.arange(9))
    decoded = decode_latents(LinearFlow("decoder", classes=True), latents.z, labels=latents.labels, batch=4)
    assert decoded.finite.all()
    np.testing.assert_allclose(decoded.x, pixels_to_x(values >> 3, N_BITS), atol=1e-5)
    wrong = decode_latents(LinearFlow("decoder", classes=True), latents.z, labels=np.zeros(9, np.int64))
    assert np.abs(wrong.x - decoded.x)[1:].max() > 0.01


# --- the class a picture is likeliest of


@pytest.mark.parametrize("draws", [0, 4])
def test_the_best_class_has_the_lowest_bits_per_dim(draws):
    values, engine = pictures(), LinearFlow("encoder", classes=True)
    engine.b -= 5  # so that the classes around 4 are the likely ones
    best = encode_images(engine, values, settings=EncodeSettings(draws=draws, best_class=True, batch=4))
    figure = "bits_per_dim" if draws else "bits_per_dim_centre"
    each = [
        getattr(encode_images(engine, values, settings=EncodeSettings(draws=draws), labels=[label] * 9), figure)
        for label in range(CLASSES)
    ]
    assert best.labels.tolist() == np.argmin(each, axis=0).tolist()
    assert len(set(best.labels.tolist())) > 1
    np.testing.assert_allclose(getattr(best, figure), np.min(each, axis=0), rtol=1e-6)
    np.testing.assert_allclose(bits_per_dim(best.class_log_prob, dims=DIMS, n_bits=N_BITS).T, each, rtol=1e-5)


def test_the_best_class_and_labels_exclude_each_other():
    settings = EncodeSettings(best_class=True)
    with pytest.raises(UsageError, match="leave one of them out"):
        encode_images(LinearFlow("encoder", classes=True), pictures(2), settings=settings, labels=[0, 1])
    with pytest.raises(UsageError, match="not class-conditional"):
        encode_images(LinearFlow("encoder"), pictures(2), settings=settings)
    with pytest.raises(UsageError, match="needs an encoder"):
        class_log_prob(LinearFlow("decoder", classes=True), [])


def test_posteriors_follow_bayes_rule():
    log_prob = np.log([[0.2, 0.2, 0.4], [1.0, 1.0, 1.0]]) - 5000.0
    np.testing.assert_allclose(class_posterior(log_prob), [[0.25, 0.25, 0.5], [1 / 3] * 3])


def test_other_classes_at_decoding_move_the_pictures():
    latents = encode_images(LinearFlow("encoder", classes=True), pictures(), labels=np.arange(9))
    engine = LinearFlow("decoder", classes=True)
    moved = (
        decode_latents(engine, latents.z, labels=[3] * 9).x - decode_latents(engine, latents.z, labels=np.arange(9)).x
    )
    for row in range(9):
        step = np.linalg.solve(engine.a, np.full(DIMS, row - 3.0)).reshape(IMAGE)
        np.testing.assert_allclose(moved[row], step, atol=1e-5)


def test_decode_marks_non_finite_rows():
    z = noise(0, np.arange(50), SHAPES)
    decoded = decode_latents(LinearFlow("decoder", spoil=lambda z: z[:, 0] > 1), z)
    np.testing.assert_array_equal(decoded.finite, flat(z)[:, 0] <= 1)
    assert 0 < decoded.finite.sum() < 50


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"pictures are \(3, 4, 4\)"):
        encode_images(LinearFlow("encoder"), np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no pictures"):
        encode_images(LinearFlow("encoder"), np.zeros((0, *IMAGE), np.uint8))
    with pytest.raises(DataError, match="do not fit this model"):
        decode_latents(LinearFlow("decoder"), noise(0, [0], SHAPES)[:1])
    for labels, message in (
        ([0, -1], "no class -1"),
        ([9, 0], "no class 9"),
        ([0], "2 whole numbers"),
        ([0.0, 1.0], "2 whole numbers"),
    ):
        engine = LinearFlow("encoder", classes=True)
        with pytest.raises(DataError, match=message):
            encode_images(engine, pictures(2), settings=EncodeSettings(batch=1), labels=np.array(labels))
        assert engine.batches == []


def test_non_finite_encoding_is_unsound():
    engine = LinearFlow("encoder")
    engine.b[0] = np.inf
    with pytest.raises(UnsoundModelError, match=r"z1 of b\.png is not finite"):
        encode_images(engine, pictures(1), names=["b.png"])


# --- files


@pytest.fixture
def latents() -> Latents:
    return encode_images(
        LinearFlow("encoder", classes=True), pictures(3), names=["a.png", "b.png", "ü.png"], labels=np.arange(3)
    )


DECODER = LinearFlow("decoder", classes=True).inputs


def test_files_round_trip(tmp_path, latents):
    path = tmp_path / "latents.npz"
    save_latents(path, latents)
    got = load_latents(path, DECODER)
    for level, want in zip(got.z, latents.z, strict=True):
        assert level.dtype == np.float32
        np.testing.assert_array_equal(level, want)
    assert got.names == ("a.png", "b.png", "ü.png")
    assert got.labels.tolist() == [0, 1, 2]
    for name in ("log_prob", "bits_per_dim", "bits_per_dim_centre"):
        np.testing.assert_array_equal(getattr(got, name), getattr(latents, name))
    first = path.read_bytes()
    save_latents(path, latents)
    assert path.read_bytes() == first
    assert [item.name for item in tmp_path.iterdir()] == ["latents.npz"]


def test_z_alone_is_enough(tmp_path, latents):
    np.savez(tmp_path / "z.npz", z1=latents.z[0].astype(np.float64), z2=latents.z[1])
    got = load_latents(tmp_path / "z.npz", LinearFlow("decoder").inputs)
    assert got.names == ("0", "1", "2")
    assert got.z[0].dtype == np.float32
    assert got.bits_per_dim is None
    with pytest.raises(DataError, match="has no `y`"):
        load_latents(tmp_path / "z.npz", DECODER)
    assert load_latents(tmp_path / "z.npz", DECODER, need_y=False).labels is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"z2": None}, "holds latents z1, the model takes z1, z2"),
        ({"z3": np.zeros((3, 1))}, "holds latents z1, z2, z3"),
        ({"z1": np.zeros((3, 2, 2, 3), np.float32)}, r"`z1` has shape \(3, 2, 2, 3\)"),
        ({"z2": np.zeros((2, 4, 1, 1), np.float32)}, r"`z2` has shape \(2, 4, 1, 1\)"),
        ({"z1": np.zeros((3, 2, 2, 2), np.int64)}, "is int64, not floating point"),
        ({"z1": np.full((3, 2, 2, 2), np.nan, np.float32)}, "not finite"),
        ({"z1": np.full((3, 2, 2, 2), 1e300)}, "not finite"),
        ({"z1": np.array([{}], dtype=object)}, "Python objects"),
        ({"names": np.array([{}], dtype=object)}, "Python objects"),
        ({"names": np.array(["a"])}, "not 3 texts"),
        ({"log_prob": np.zeros(2)}, "`log_prob`"),
        ({"y": np.zeros(3)}, "`y` is float64"),
        ({"y": np.array([0, 1, 9])}, "`y` holds 9; the model's classes are 0 to 8"),
        ({"y": np.array([0, -1, 8])}, "`y` holds -1"),
        ({"y": np.array([0, 2**63 + 1, 8], np.uint64)}, "`y` holds -"),
    ],
)
def test_bad_arrays(tmp_path, latents, change, reason):
    save_latents(tmp_path / "a.npz", latents)
    arrays = dict(np.load(tmp_path / "a.npz")) | change
    np.savez(tmp_path / "b.npz", **{name: array for name, array in arrays.items() if array is not None})
    load_latents(tmp_path / "a.npz", DECODER, num_classes=CLASSES)
    with pytest.raises(DataError, match=reason) as caught:
        load_latents(tmp_path / "b.npz", DECODER, num_classes=CLASSES)
    assert "b.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_bytes(tmp_path, latents):
    path = tmp_path / "a.npz"
    save_latents(path, latents)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = bytearray(whole)
    damaged[whole.index(latents.z[0].tobytes()) + 5] ^= 255
    pickled = io.BytesIO()
    np.save(pickled, np.array([print], dtype=object), allow_pickle=True)
    for data in (b"", rng.bytes(400), whole[:-30], whole[: len(whole) // 2], bytes(damaged), pickled.getvalue()):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            load_latents(path, DECODER)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_latents(tmp_path / "absent.npz", DECODER)
    with pytest.raises(DataError, match="is a folder"):
        load_latents(tmp_path, DECODER)


def test_a_header_that_lies_about_its_size(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 2, 2, 2)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("z1.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(DataError, match="its header and its size disagree"):
        load_latents(tmp_path / "a.npz", DECODER)
