from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

import glow_deploy
from glow_core import GlowConfig, ImportOptions, save_checkpoint
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.exact import ExactEngine
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import EngineError, MissingDependencyError, UnsoundModelError, UsageError
from glow_deploy.export import export
from glow_deploy.verify.weights import check_weights

CONFIG = GlowConfig(image_size=(8, 8), channels=1, levels=2, steps=2, width=8, n_bits=5, coupling="additive")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "other_projects"


def pixels(count):
    generator = np.random.default_rng(0)
    coarse = np.kron(generator.random((count, 1, 2, 2)), np.ones((1, 1, 4, 4)))
    return np.floor(32 * np.clip(coarse + 0.1 * generator.random((count, 1, 8, 8)), 0, 0.999)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(perturbed_glow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    save_checkpoint(perturbed_glow(CONFIG), folder / "ckpt.pt", images=pixels(64))
    export(folder / "ckpt.pt", out=folder / "bundle", precision="exact", golden=8)
    return folder


def test_the_manifest_holds_the_proof_and_what_it_costs(exported):
    manifest = Bundle.open(exported / "bundle").manifest
    found = manifest.numerics.exact
    assert manifest.precision == "exact"
    assert found.proof.largest_sum < 2**24
    assert found.proof.largest_value < 2**24
    assert (found.images, found.change_images, found.bits) == (32, 32, 8)
    assert abs(found.bits_per_dim_change) < 0.05
    assert not manifest.numerics.problems
    assert manifest.numerics.self_check.max_error == {"z1": 0, "z2": 0, "integers": 0, "normal": 0}


def test_golden_vectors_are_integers_that_give_the_images_back(exported):
    golden = Bundle.open(exported / "bundle").golden()
    assert [part.dtype for part in golden.integers] == [np.int64, np.int64]
    np.testing.assert_array_equal(golden.x_hat, golden.x)


def test_latents_made_by_encoding_give_every_pixel_back(exported):
    with glow_deploy.load(exported / "bundle") as model:
        values = np.rint(pixels(20)[8:].transpose(0, 2, 3, 1) * (255 / 31)).astype(np.uint8)
        back = model.decode(model.encode(values))
        np.testing.assert_array_equal(back.pixels, values)
        assert np.isfinite(model.sample(4).x).all()


def test_both_engines_of_a_pair_speak_of_normal_numbers(exported):
    with open_pair(exported / "bundle", device="cpu") as (encoder, decoder):
        assert isinstance(encoder, ExactEngine)
        assert [spec.name for spec in decoder.inputs] == ["z1", "z2"]


def test_the_narrowest_width_within_the_band_is_found(exported, monkeypatch):
    """The band must hold for the mean and for all that it may be, at 95 % confidence."""
    changes = {4: (0.02, 0.001), 5: (0.0045, 0.001), 6: (0.003, 0.001), 7: (0.001, 0.0005)}
    monkeypatch.setattr(
        importlib.import_module("glow_deploy.export.exact"),
        "_change",
        lambda folded, built, x, y, trained: (*changes.get(bits_of(built), (0.001, 0.0005)), 0),
    )

    def bits(band):
        out = exported / f"band-{band}"
        bundle = export(exported / "ckpt.pt", out=out, precision="exact", bits="auto", band=band, golden=1)
        return bundle.manifest.numerics.exact.bits

    assert bits(None) == 6
    assert bits(0.1) == 4
    with pytest.raises(UsageError, match="give a wider band"):
        bits(0.001)
    assert not (exported / "band-0.001").exists()


def test_images_that_leave_the_range_are_counted_and_too_many_refused(exported, monkeypatch):
    module = importlib.import_module("glow_deploy.export.exact")
    real = module._change
    assert Bundle.open(exported / "bundle").manifest.numerics.exact.outside == 0

    def out(count):
        monkeypatch.setattr(module, "_change", lambda *given: (*real(*given)[:2], count))
        return export(exported / "ckpt.pt", out=exported / f"out-{count}", precision="exact", golden=1)

    assert out(1).manifest.numerics.exact.outside == 1
    with pytest.raises(UnsoundModelError, match="2 of 32 images leave the range"):
        out(2)
    assert not (exported / "out-2").exists()


def test_golden_images_are_not_those_of_the_calibration(exported):
    golden = Bundle.open(exported / "bundle").golden()
    kept = np.floor(golden.x * 32).astype(int).reshape(8, -1)
    all_images = pixels(64).reshape(64, -1).astype(int)
    used = [int(np.flatnonzero((all_images == row).all(axis=1))[0]) for row in kept]
    assert len(set(used)) == 8
    figures = Bundle.open(exported / "bundle").manifest.numerics.exact
    assert figures.images == 32
    assert min(used) >= 32


def test_an_image_out_of_range_is_named_with_the_range(exported, monkeypatch):
    real = ExactEngine.run

    def nothing_in_range(self, feeds):
        return {name: np.full_like(array, np.nan) for name, array in real(self, feeds).items()}

    values = np.zeros((2, 8, 8, 1), np.uint8)
    with glow_deploy.load(exported / "bundle") as model:
        monkeypatch.setattr(ExactEngine, "run", nothing_in_range)
        with pytest.raises(UnsoundModelError, match="not in the range that the integers are proven in"):
            model.encode(values)


def bits_of(built):
    return built.model.levels[0].steps[0].conditioner.largest.bit_length()


def test_fewer_bits_cost_more(exported):
    def change(bits):
        out = exported / f"bits-{bits}"
        return export(exported / "ckpt.pt", out=out, precision="exact", bits=bits, golden=1).manifest.numerics.exact

    few, many = change(4), change(10)
    assert abs(few.bits_per_dim_change) > abs(many.bits_per_dim_change)


def test_an_affine_model_is_refused_before_anything_is_made(checkpoint, tmp_path):
    with pytest.raises(UsageError, match="--coupling additive"):
        export(checkpoint, out=tmp_path / "b", precision="exact")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "options", [{"bits": 12}, {"bits": "few"}, {"bits": 8, "band": 0.1}, {"bits": 8, "precision": "fp32"}]
)
def test_options_that_do_not_fit_are_refused(tmp_path, options):
    with pytest.raises(UsageError, match=r"bits|band"):
        export(tmp_path / "none.pt", **{"precision": "exact", **options})


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("fp16", "fp16-carried")]


@pytest.mark.parametrize("native", ["bf16", "bf16-carried", *SLOW])
def test_native_and_carried_bundles_hold_the_same_integers(exported, native):
    bundle = export(exported / "ckpt.pt", out=exported / native, precision="exact", native=native, golden=4)
    assert not bundle.manifest.numerics.problems
    number = native.partition("-")[0]
    both = (number, f"{number}-carried")
    kept = [Bundle.open(exported / name).golden() for name in both if (exported / name).exists()]
    for integers in zip(*(golden.integers for golden in kept), strict=True):
        np.testing.assert_array_equal(integers[0], integers[-1])
    if native == number:
        with pytest.raises(MissingDependencyError, match=f"{number}-carried"):
            glow_deploy.open_engine(bundle.path / "encoder.onnx", device="cpu")
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is the extra `rtx`")
        with pytest.raises(UsageError, match="without --native"):
            glow_deploy.compile(bundle.path, flavor="rtx")
    else:
        pytest.importorskip("openvino", reason="OpenVINO is the extra `openvino`")
        with pytest.raises(EngineError, match="leaves out casts"):
            glow_deploy.open_engine(bundle.path / "encoder.onnx", backend="openvino-cpu")


def test_pictures_and_integers_alone_go_in_and_out(exported):
    """Latents are int32, and the decoder takes no other numbers."""
    import onnxruntime

    bundle = export(exported / "ckpt.pt", out=exported / "i32", precision="exact", golden=8, io="uint8-nhwc-int32")
    encoder, decoder = (
        onnxruntime.InferenceSession(bundle.path / f"{role}.uint8.onnx", providers=["CPUExecutionProvider"])
        for role in ("encoder", "decoder")
    )
    assert [value.name for value in decoder.get_inputs()] == ["z1", "z2"]
    golden = bundle.golden()
    values = np.rint(np.floor(golden.x * 32) * (255 / 31)).astype(np.uint8).transpose(0, 2, 3, 1)
    names = [value.name for value in encoder.get_outputs()]
    found = dict(zip(names, encoder.run(None, {"pixels": values}), strict=True))
    for level, integers in enumerate(golden.integers, 1):
        assert found[f"z{level}"].dtype == np.int32
        np.testing.assert_array_equal(found[f"z{level}"], integers)
        np.testing.assert_allclose(found[f"normal{level}"], golden.z[level - 1], rtol=2e-6, atol=1e-7)
    back, in_range = decoder.run(["pixels", "in_range"], {"z1": found["z1"], "z2": found["z2"]})
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(in_range, np.ones(8))
    checks = {check.name: check.found for check in check_weights(bundle, plan=None).checks}
    assert checks["graphs of 8-bit pictures"] == "pass"
    with pytest.raises(UsageError, match="whose latents are integers"):
        export(exported / "ckpt.pt", out=exported / "none", io="uint8-int32")


def test_older_operator_sets_and_graphs_of_pictures_hold_the_same_integers(exported):
    import onnx
    import onnxruntime

    out = exported / "older"
    bundle = export(exported / "ckpt.pt", out=out, precision="exact", golden=8, opset=13, ir_version=7, io="uint8")
    assert not bundle.manifest.numerics.problems
    model = onnx.load(out / "decoder.onnx")
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)
    for found, wanted in zip(bundle.golden().integers, Bundle.open(exported / "bundle").golden().integers, strict=True):
        np.testing.assert_array_equal(found, wanted)
    encoder, decoder = (
        onnxruntime.InferenceSession(out / f"{role}.uint8.onnx", providers=["CPUExecutionProvider"])
        for role in ("encoder", "decoder")
    )
    values = np.rint(pixels(5) * (255 / 31)).astype(np.uint8)
    z1, z2, in_range = encoder.run(["z1", "z2", "in_range"], {"pixels": values})
    for level, z in enumerate((z1, z2)):
        np.testing.assert_array_equal(z == np.rint(z), np.ones_like(z, bool), err_msg=f"z{level + 1}")
    assert (in_range == 1).all()
    (back,) = decoder.run(["pixels"], {"z1": z1, "z2": z2, "as_normal": np.zeros((5, 1, 1, 1), np.float32)})
    np.testing.assert_array_equal(back, values)
    with pytest.raises(UsageError, match="operator set 22"):
        export(exported / "ckpt.pt", out=exported / "none", precision="exact", native="bf16", opset=13)


def test_bfloat16_needs_few_bits(exported):
    with pytest.raises(UsageError, match="8 bits exactly"):
        export(exported / "ckpt.pt", out=exported / "none", precision="exact", native="bf16", bits=9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rosinality_additive_plain/model_000001.pt", {"image_size": (16, 16), "n_bits": 8}),
        ("y0ast_additive_plain/glow_model_1.pth", {}),
        ("corenel_additive/network-snapshot-000007.pth", {}),
    ],
)
def test_other_projects_additive_checkpoints_have_exact_graphs(tmp_path, name, options):
    given = ImportOptions(**options) if options else None
    bundle = export(
        FIXTURES / name, out=tmp_path / "b", precision="exact", golden=8, options=given, data="faces", resize=True
    )
    assert not bundle.manifest.numerics.problems
    assert glow_deploy.verify(bundle, device="cpu", random_draws=0).sound
