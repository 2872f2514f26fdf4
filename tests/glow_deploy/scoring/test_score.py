from __future__ import annotations

import doctest
import math
from collections.abc import Mapping

import numpy as np
import pytest

from glow_deploy.data.arrays import array_images
from glow_deploy.data.fit import Fit
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import bits_per_dim, pixels_to_x, values_to_pixels, write_png
from glow_deploy.latents import EncodeSettings, PictureBatch, dequantisation, encode_images
from glow_deploy.protocol import EngineDetails, TensorSpec
from glow_deploy.scoring import score as scoring
from glow_deploy.scoring.score import HeldOut, ScoreSettings, concatenate_scores, score_images, score_stream
from glow_deploy.scoring.sources import (
    ScoreSource,
    measure_reference,
    picture_source,
    reference_source,
    score_source,
    set_source,
)

IMAGE, SHAPES, DIMS, N_BITS = (3, 2, 2), ((2, 2, 2), (4, 1, 1)), 12, 5


class LinearEncoder:
    """z = A (x - 0.5) + shift, whose density is known; an engine outside, float64 inside."""

    role, n_bits = "encoder", N_BITS

    def __init__(self, *, classes=None, spoil=None):
        rng = np.random.default_rng(3)
        self.a = rng.normal(size=(DIMS, DIMS)) + 4 * np.eye(DIMS)
        self.num_classes = classes
        self.spoil = spoil or (lambda x: np.zeros(len(x), bool))
        self.batches: list[int] = []
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=IMAGE),)
        if classes:
            self.inputs += (TensorSpec(name="y", dtype="int64", shape=()),)
        zs = tuple(TensorSpec(name=f"z{i}", dtype="float32", shape=s) for i, s in enumerate(SHAPES, 1))
        self.outputs = (*zs, TensorSpec(name="log_prob", dtype="float32", shape=()))
        self.details = EngineDetails(
            backend="linear", provider="numpy", device="cpu", precision="fp64", tf32=False, versions={}
        )

    def formula(self, x: np.ndarray, y: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        z = (x.reshape(len(x), -1).astype(float) - 0.5) @ self.a.T + (0 if y is None else 0.5 * y[:, None])
        log_det = np.linalg.slogdet(self.a)[1]
        return z, -0.5 * (z**2).sum(axis=1) - 0.5 * DIMS * math.log(2 * math.pi) + log_det

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert list(feeds) == [spec.name for spec in self.inputs]
        self.batches.append(len(feeds["x"]))
        z, log_prob = self.formula(feeds["x"], feeds.get("y"))
        bad = self.spoil(feeds["x"])
        z[bad], log_prob[bad] = np.inf, np.nan
        return {
            "z1": z[:, :8].reshape(-1, *SHAPES[0]).astype(np.float32),
            "z2": z[:, 8:].reshape(-1, *SHAPES[1]).astype(np.float32),
            "log_prob": log_prob.astype(np.float32),
        }

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *IMAGE), dtype=np.uint8)


def bright(x: np.ndarray) -> np.ndarray:
    """Spoils pictures that are white all over."""
    return x.reshape(len(x), -1).min(axis=1) > 0.9


# --- the figures


def test_figures_are_the_formulas():
    engine, values = LinearEncoder(), pictures(6)
    found = score_images(engine, values, settings=ScoreSettings(draws=3, seed=7, batch=4))
    pixels = values_to_pixels(values, N_BITS)
    log_prob, squares = np.zeros(6), np.zeros((6, 2))
    for draw in range(3):
        u = dequantisation(7, np.arange(6), IMAGE, draw=draw)
        z, density = engine.formula((pixels + u) / 2**N_BITS)
        log_prob += density / 3
        squares += np.stack([(z[:, :8] ** 2).mean(axis=1), (z[:, 8:] ** 2).mean(axis=1)], axis=1) / 3
    np.testing.assert_allclose(found.log_prob, log_prob, rtol=1e-6)
    np.testing.assert_allclose(found.bits_per_dim, N_BITS - log_prob / (DIMS * math.log(2)), rtol=1e-6)
    np.testing.assert_allclose(found.level_squares, squares, rtol=1e-5)
    centre = engine.formula(pixels_to_x(pixels, N_BITS))[1]
    np.testing.assert_allclose(found.bits_per_dim_centre, bits_per_dim(centre, dims=DIMS, n_bits=N_BITS), rtol=1e-6)
    assert found.finite.all()
    assert found.labels is None
    assert found.names == tuple("012345")


def test_the_same_figures_as_encode():
    engine, values = LinearEncoder(), pictures(5)
    scored = score_images(engine, values, settings=ScoreSettings(draws=4, seed=3))
    encoded = encode_images(engine, values, settings=EncodeSettings(draws=4, seed=3))
    np.testing.assert_allclose(scored.bits_per_dim, encoded.bits_per_dim, rtol=1e-12)
    np.testing.assert_array_equal(scored.bits_per_dim_centre, encoded.bits_per_dim_centre)


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_the_batch_size_changes_nothing(batch):
    whole = score_images(LinearEncoder(), pictures(7), settings=ScoreSettings(draws=2))
    parts = score_images(LinearEncoder(), pictures(7), settings=ScoreSettings(draws=2, batch=batch))
    np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=1e-6)
    np.testing.assert_allclose(parts.level_squares, whole.level_squares, rtol=1e-6)


def test_one_batch_at_a_time():
    engine = LinearEncoder()
    asked = []

    def batches():
        for number in range(4):
            asked.append(number)
            yield PictureBatch(values=pictures(3, number))

    stream = score_stream(engine, batches(), settings=ScoreSettings(draws=1))
    next(stream)
    assert asked == [0]
    next(stream)
    assert asked == [0, 1]
    assert set(engine.batches) == {3}


def test_labels_and_the_best_class():
    engine, values = LinearEncoder(classes=3), pictures(8)
    each = np.stack(
        [score_images(engine, values, labels=[label] * 8).log_prob for label in range(3)],
        axis=1,
    )
    found = score_images(engine, values, settings=ScoreSettings(best_class=True))
    np.testing.assert_array_equal(found.labels, each.argmax(axis=1))
    np.testing.assert_allclose(found.log_prob, each.max(axis=1), rtol=1e-6)
    assert len(set(found.labels.tolist())) > 1
    with pytest.raises(UsageError, match="say which class"):
        score_images(engine, values)
    with pytest.raises(UsageError, match="leave one of them out"):
        score_images(engine, values, settings=ScoreSettings(best_class=True), labels=[0] * 8)
    with pytest.raises(UsageError, match="leave the class out"):
        score_images(LinearEncoder(), values, labels=[0] * 8)
    with pytest.raises(UsageError, match="leave the class out"):
        score_images(LinearEncoder(), values, settings=ScoreSettings(best_class=True))


def test_a_picture_the_encoder_overflows_on_is_marked_and_leaves_the_others_alone():
    values = pictures(5)
    values[[1, 3]] = 255
    found = score_images(LinearEncoder(spoil=bright), values)
    assert found.finite.tolist() == [True, False, True, False, True]
    assert np.isnan(found.bits_per_dim).tolist() == [False, True, False, True, False]
    sound = score_images(LinearEncoder(), values)
    np.testing.assert_array_equal(found.bits_per_dim[found.finite], sound.bits_per_dim[found.finite])


def test_the_best_class_of_what_overflows():
    values = pictures(3)
    values[1] = 255
    found = score_images(
        LinearEncoder(classes=2, spoil=bright), values, settings=ScoreSettings(best_class=True, draws=1)
    )
    assert found.finite.tolist() == [True, False, True]


def test_bad_input():
    with pytest.raises(DataError, match=r"pictures are \(3, 4, 4\)"):
        score_images(LinearEncoder(), np.zeros((2, 3, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no pictures to score"):
        score_images(LinearEncoder(), pictures(0))
    with pytest.raises(UsageError, match="2 names were given for 3"):
        score_images(LinearEncoder(), pictures(3), names=["a", "b"])
    for options, words in (({"draws": 0}, "draws"), ({"batch": 0}, "batch"), ({"seed": -1}, "seed")):
        with pytest.raises(UsageError, match=words):
            ScoreSettings(**options)
    decoder = LinearEncoder()
    decoder.role = "decoder"
    with pytest.raises(UsageError, match="scoring needs an encoder"):
        score_images(decoder, pictures(1))
    with pytest.raises(DataError, match="no pictures"):
        concatenate_scores([])


# --- typicality


def test_typicality_is_the_distance_from_the_mean():
    bits = np.array([2.0, 2.5, 3.0, 4.5])
    reference = HeldOut(source="r", bits_per_dim=bits)
    assert (reference.mean, reference.deviation) == (3.0, pytest.approx(bits.std(ddof=1)))
    np.testing.assert_array_equal(
        reference.typicality(np.array([3.0, 1.0, 5.0, np.nan, np.inf])), [0, 2, 2, np.inf, np.inf]
    )


def test_the_p_value_is_the_share_of_the_reference_as_far_out_or_farther():
    rng = np.random.default_rng(0)
    bits = rng.normal(size=57)
    reference = HeldOut(source="r", bits_per_dim=bits)
    distances = np.abs(bits - bits.mean())
    asked = np.concatenate([rng.normal(size=20) * 3, bits[:3], [np.nan, np.inf]])
    wanted = []
    for value in asked:
        far = np.inf if math.isnan(value) else abs(value - bits.mean())
        wanted.append((1 + (distances >= far).sum()) / 58)
    np.testing.assert_array_equal(reference.p_value(asked), wanted)


def test_the_p_value_calls_the_share_it_says_an_anomaly():
    rng = np.random.default_rng(1)
    reference = HeldOut(source="r", bits_per_dim=rng.gamma(5, size=2000))
    p = reference.p_value(rng.gamma(5, size=20000))
    for level in (0.01, 0.05, 0.5):
        assert (p <= level).mean() == pytest.approx(level, rel=0.35)
    assert (reference.p_value(rng.gamma(5, size=2000) + 20) <= 0.01).all(), "a foreign set is told"


def test_a_reference_needs_finite_images():
    with pytest.raises(UnsoundModelError, match="1 of 3 reference images"):
        HeldOut(source="r", bits_per_dim=np.array([1.0, np.nan, 2.0]))
    with pytest.raises(DataError, match="at least 2 images, r gave 1"):
        HeldOut(source="r", bits_per_dim=np.array([1.0]))


def test_likelier_is_not_more_typical():
    """Pictures all alike are the likeliest under this model, yet no picture of its own looks like them."""
    engine = LinearEncoder()
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, DIMS))
    own_x = (np.linalg.solve(engine.a, z.T).T * 0.4 + 0.5).clip(0, 0.999).reshape(-1, *IMAGE)
    own = (np.floor(own_x * 32) * 255 / 31).round().astype(np.uint8)
    grey = np.full((200, *IMAGE), 128, np.uint8)
    reference = HeldOut(source="own", bits_per_dim=score_images(engine, own[:200]).bits_per_dim)
    likely, foreign = (score_images(engine, values).bits_per_dim for values in (own[200:], grey))
    assert foreign.max() < likely.min(), "likelier than every one of the model's own"
    assert np.median(reference.p_value(foreign)) < np.median(reference.p_value(likely))


# --- sources


def test_picture_files_batch_by_batch(tmp_path):
    values = pictures(5)
    files = [tmp_path / f"{index}.png" for index in range(5)]
    for path, value in zip(files, values, strict=True):
        write_png(path, value)
    source = picture_source(files, shape=IMAGE)
    parts = list(source.batches(2))
    assert [len(part.values) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), values)
    assert parts[1].names == [str(path) for path in files[2:4]]
    found = score_source(LinearEncoder(), source, settings=ScoreSettings(batch=2))
    np.testing.assert_allclose(found.bits_per_dim, score_images(LinearEncoder(), values).bits_per_dim, rtol=1e-6)


def test_unreadable_files_fail_or_are_left_out(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(4)]
    for path, value in zip(files, pictures(4), strict=True):
        write_png(path, value)
    files[0].write_bytes(b"\x89PNG damaged")
    files[1].unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        score_source(LinearEncoder(), picture_source(files, shape=IMAGE))
    source = picture_source(files, shape=IMAGE, skip_unreadable=True)
    done = []
    found = score_source(
        LinearEncoder(), source, settings=ScoreSettings(batch=2), progress=lambda *pair: done.append(pair)
    )
    assert len(found) == 2
    assert [line.rpartition(".png")[0][-1] for line in source.skipped] == ["0", "1"]
    assert done[-1] == (4, 4)
    nothing = picture_source(files[:2], shape=IMAGE, skip_unreadable=True)
    with pytest.raises(DataError, match="no pictures to score"):
        score_source(LinearEncoder(), nothing)


def images(count=6, labels=None):
    values = pictures(count).transpose(0, 2, 3, 1)
    return array_images(values, fit=Fit(), description="here", labels=labels)


def test_labels_of_a_set():
    labels = np.array([0, 1, 2, 0, 1, 2])
    taken = []
    found = score_source(
        LinearEncoder(classes=3), set_source(images(labels=labels), name="s", label="own"), take=taken.append
    )
    assert len(found) == 6
    np.testing.assert_array_equal(taken[0].labels, labels)
    score_source(LinearEncoder(classes=3), set_source(images(labels=labels), name="s", label=1), take=taken.append)
    np.testing.assert_array_equal(taken[1].labels, 1)
    with pytest.raises(DataError, match="here has no class labels"):
        set_source(images(), name="s", label="own")
    with pytest.raises(DataError, match="picture files have no class labels"):
        picture_source([], shape=IMAGE, label="own")


def test_the_reference_is_held_out_where_the_set_names_splits(tmp_path):
    values = pictures(12).transpose(0, 2, 3, 1)
    np.savez(tmp_path / "whole.npz", images=values)
    split = np.repeat([0, 1, 2], [6, 4, 2])
    np.savez(tmp_path / "split.npz", images=values, split=split, split_names=np.array(["train", "validation", "test"]))
    assert len(reference_source(str(tmp_path / "whole.npz"), shape=IMAGE)) == 12
    held_out = reference_source(str(tmp_path / "split.npz"), shape=IMAGE)
    np.testing.assert_array_equal(next(held_out.batches(9)).values, values.transpose(0, 3, 1, 2)[6:10])
    reference = measure_reference(LinearEncoder(), held_out)
    np.testing.assert_allclose(
        reference.bits_per_dim, score_images(LinearEncoder(), values.transpose(0, 3, 1, 2)[6:10]).bits_per_dim
    )


@pytest.mark.parametrize("kind", ["checkpoint", "data", "samples", None])
def test_golden_images_are_a_reference_unless_they_are_samples(kind):
    from glow_deploy.scoring.sources import golden_source

    values = pictures(4)

    class Manifest:
        golden_source, n_bits, image_shape = kind, N_BITS, IMAGE

    class Golden:
        x, y = pixels_to_x(values_to_pixels(values, N_BITS), N_BITS), None

    class Bundle:
        path, manifest = "bundle", Manifest
        golden = staticmethod(lambda: Golden)

    source = golden_source(Bundle)
    if kind in (None, "samples"):
        assert source is None
        return
    assert isinstance(source, ScoreSource)
    found = score_source(LinearEncoder(), source)
    np.testing.assert_allclose(found.bits_per_dim, score_images(LinearEncoder(), values).bits_per_dim, rtol=1e-6)


def test_doctests():
    found = doctest.testmod(scoring)
    assert (found.failed, found.attempted >= 3) == (0, True)


@pytest.mark.parametrize(
    ("labels", "best_class"),
    [([0, 1, 2], False), ([0, 1, 2, 3], False), ([[0]] * 4, False), (None, False), ([0, 1, 2, 0], True)],
)
def test_bad_labels_are_refused_before_the_encoder_runs(labels, best_class):
    engine = LinearEncoder(classes=3)
    settings = ScoreSettings(best_class=best_class)
    with pytest.raises((DataError, UsageError)):
        score_images(engine, np.zeros((4, *IMAGE), np.uint8), settings=settings, labels=labels)
    assert engine.batches == []
