from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from glow_core import Glow, GlowConfig, ImportOptions, save_checkpoint
from glow_core.errors import ConfigError
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import sha256_file
from glow_deploy.errors import CheckpointError, UnsoundModelError, UsageError
from glow_deploy.export import ExportSettings, default_bundle_path, export

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
FEW = ExportSettings(golden=5)


def test_bundle_holds_what_the_manifest_says(checkpoint, perturbed_glow, tmp_path):
    bundle = export(checkpoint, out=tmp_path / "b", settings=FEW)
    assert sorted(p.name for p in bundle.path.iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "golden.npz",
        "manifest.json",
    ]
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    assert manifest["files"] == {
        n: sha256_file(bundle.path / n) for n in ("decoder.onnx", "encoder.onnx", "golden.npz")
    }
    assert manifest["model"] == json.loads(json.dumps(CONFIG.to_dict()))
    assert manifest["tensors"]["encoder"]["outputs"]["z2"] == {"dtype": "float32", "shape": [24, 2, 2]}
    assert manifest["golden_source"] == "samples"
    assert manifest["numerics"]["self_check"]["passed"] is True
    assert manifest["numerics"]["yardstick"]["n"] == 5
    assert manifest["numerics"]["yardstick"]["z"]["z2"]["rms"] > 0


def test_golden_vectors_are_the_float64_model(checkpoint, perturbed_glow, tmp_path):
    golden = export(checkpoint, out=tmp_path / "b", settings=FEW).golden()
    assert golden.x.dtype == np.float32
    assert len(golden) == 5
    assert np.array_equal((golden.x * 32 - 0.5) % 1, np.zeros_like(golden.x))  # bin centres
    glow = perturbed_glow(CONFIG).double()
    with torch.no_grad():
        z, log_prob = glow.encode(torch.from_numpy(golden.x).double())
    assert all(np.abs(a - b.numpy()).max() < 1e-12 for a, b in zip(golden.z, z, strict=True))
    assert np.abs(golden.log_prob - log_prob.numpy()).max() < 1e-9
    assert np.abs(golden.x_hat - golden.x).max() < 1e-12


def test_graphs_run_in_plain_onnxruntime_and_round_trip(checkpoint, tmp_path):
    bundle = export(checkpoint, out=tmp_path / "b", settings=FEW)
    encoder = onnxruntime.InferenceSession(str(bundle.path / "encoder.onnx"))
    decoder = onnxruntime.InferenceSession(str(bundle.path / "decoder.onnx"))
    x = bundle.golden().x
    z1, z2, _ = encoder.run(None, {"x": x})
    (x_hat,) = decoder.run(None, {"z1": z1, "z2": z2})
    assert np.abs(x_hat - x).max() < 2.0**-6 / 100


def test_validation_images_of_the_checkpoint_become_golden(perturbed_glow, tmp_path):
    images = np.random.default_rng(0).integers(0, 32, (9, 3, 8, 8)).astype(np.uint8)
    save_checkpoint(perturbed_glow(CONFIG), tmp_path / "c.pt", images=images)
    bundle = export(tmp_path / "c.pt", out=tmp_path / "b", settings=ExportSettings(golden=4))
    assert bundle.manifest.golden_source == "checkpoint"
    assert np.array_equal(bundle.golden().x, ((images[:4] + 0.5) / 32).astype(np.float32))


def test_golden_none_writes_none(checkpoint, tmp_path):
    bundle = export(checkpoint, out=tmp_path / "b", settings=ExportSettings(golden=None))
    assert bundle.golden() is None
    assert bundle.manifest.golden_source is None
    assert not (bundle.path / "golden.npz").exists()
    assert Bundle.open(bundle.path) == bundle


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 3},
        {"coupling": "additive", "permutation": "plain"},
        {"image_size": (16, 8), "channels": 1, "levels": 3, "n_bits": 8},
        {"levels": 1, "bounded_scale": False, "permutation": "shuffle"},
    ],
)
def test_other_models_export(change, perturbed_glow, tmp_path):
    config = GlowConfig.from_dict(CONFIG.to_dict() | change)
    save_checkpoint(perturbed_glow(config), tmp_path / "c.safetensors")
    bundle = export(tmp_path / "c.safetensors", out=tmp_path / "b", settings=FEW)
    golden = bundle.golden()
    assert (golden.y is not None) == (config.num_classes is not None)
    assert bundle.manifest.latent_shapes == config.latent_shapes


def test_two_exports_are_identical_whatever_the_hash_seed_and_folder(checkpoint, tmp_path):
    digests = []
    for seed in ("0", "1"):
        folder = tmp_path / f"elsewhere-{seed}"
        folder.mkdir()
        code = "import sys; from glow_deploy.export import *; export(sys.argv[1], settings=ExportSettings(golden=3))"
        subprocess.run(
            [sys.executable, "-c", code, str(checkpoint)],
            check=True,
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        bundle = folder / "ckpt-bundle"
        digests.append({path.name: sha256_file(path) for path in bundle.iterdir()})
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4


def test_default_place_is_named_after_the_checkpoint():
    assert str(default_bundle_path("runs/one/ckpt.pt")) == "ckpt-bundle"


def test_averaged_weights_are_exported_unless_raw(perturbed_glow, tmp_path):
    glow = perturbed_glow(CONFIG)
    ema = {k: v.clone() for k, v in glow.state_dict().items()}
    ema["prior.mean"] = ema["prior.mean"] + 0.25
    save_checkpoint(glow, tmp_path / "c.pt", ema=ema)
    means = {}
    for weights in ("ema", "raw"):
        bundle = export(tmp_path / "c.pt", out=tmp_path / weights, settings=ExportSettings(golden=3, weights=weights))
        assert bundle.manifest.weights == weights
        tensors = {t.name: t for t in onnx.load(bundle.path / "decoder.onnx").graph.initializer}
        means[weights] = onnx.numpy_helper.to_array(tensors["prior/mean"])
    assert np.allclose(means["ema"], means["raw"] + 0.25)


def _unsound(perturbed_glow, path):
    """An unbounded affine Glow whose scale underflows: its float32 inverse cannot bring the image back."""
    config = GlowConfig.from_dict(CONFIG.to_dict() | {"bounded_scale": False})
    glow = perturbed_glow(config)
    glow.flow_levels()[0].flow_steps()[0].coupling.conditioner.conv3.bias.data[6:] = -20.0
    save_checkpoint(glow, path)


def test_a_model_that_does_not_round_trip_is_refused_and_nothing_written(perturbed_glow, tmp_path):
    _unsound(perturbed_glow, tmp_path / "bad.pt")
    with pytest.raises(UnsoundModelError, match="round-trip") as raised:
        export(tmp_path / "bad.pt", out=tmp_path / "b", settings=FEW)
    assert raised.value.exit_code == 1
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "b").exists()


def test_force_exports_it_and_records_why_it_was_refused(perturbed_glow, tmp_path):
    _unsound(perturbed_glow, tmp_path / "bad.pt")
    bundle = export(tmp_path / "bad.pt", out=tmp_path / "b", settings=ExportSettings(golden=5, force=True))
    assert Bundle.open(bundle.path).manifest.numerics.problems


def test_a_model_without_finite_samples_is_refused_and_forced_without_golden_vectors(checkpoint, tmp_path, monkeypatch):
    from glow_deploy.export.reference import TrainedReference

    monkeypatch.setattr(
        TrainedReference, "sample_images", lambda self, count, **options: np.full((count, 3, 8, 8), np.nan, np.float32)
    )
    with pytest.raises(UnsoundModelError, match="data="):
        export(checkpoint, out=tmp_path / "b", settings=FEW)
    assert not (tmp_path / "b").exists()
    forced = export(checkpoint, out=tmp_path / "b", settings=ExportSettings(golden=5, force=True))
    manifest = Bundle.open(forced.path).manifest
    assert manifest.golden_source is None
    assert manifest.numerics.yardstick is None
    assert "0 of 40 images" in manifest.numerics.problems[0]
    assert not (forced.path / "golden.npz").exists()


def test_a_model_whose_actnorm_was_never_initialised_is_exported_with_a_note(checkpoint, perturbed_glow, tmp_path):
    assert export(checkpoint, out=tmp_path / "trained", settings=FEW).manifest.numerics.notes == ()
    save_checkpoint(Glow(CONFIG), tmp_path / "fresh.pt")
    (note,) = export(tmp_path / "fresh.pt", out=tmp_path / "fresh", settings=FEW).manifest.numerics.notes
    assert "never initialised" in note


def test_errors_of_the_models_own_package_come_out_as_checkpoint_errors(checkpoint, tmp_path, monkeypatch):
    from glow_deploy.export.reference import TrainedReference

    def refuse(*arguments, **options):
        raise ConfigError("no such luck")

    monkeypatch.setattr(TrainedReference, "code", refuse)
    with pytest.raises(CheckpointError, match=r"ckpt\.pt: no such luck"):
        export(checkpoint, out=tmp_path / "b", settings=FEW)


def test_a_folder_that_cannot_be_written_is_noticed_first(checkpoint, tmp_path, monkeypatch):
    from glow_deploy.export import run

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr(run, "_read", lambda path: pytest.fail("it went to work"))
    with pytest.raises(UsageError, match="No space left"):
        export(checkpoint, out=tmp_path / "b", settings=FEW)


def test_samples_do_not_depend_on_how_many_are_drawn_at_once(perturbed_glow, monkeypatch):
    """Drawn 16 at a time: no more are in memory at once, and the first sixteen are those of a smaller request."""
    from glow_deploy.export.reference import TrainedReference

    sizes, whole = [], Glow.sample
    monkeypatch.setattr(Glow, "sample", lambda self, n, **options: sizes.append(n) or whole(self, n, **options))
    reference = TrainedReference(perturbed_glow(CONFIG))
    many = reference.sample_images(37, temperature=0.7, seed=0, y=None)
    few = reference.sample_images(16, temperature=0.7, seed=0, y=None)
    assert sizes == [16, 16, 5, 16]
    assert np.array_equal(many[:16], few)
    assert not np.array_equal(many[16:32], few)


def test_an_existing_bundle_is_kept_unless_forced(checkpoint, tmp_path):
    bundle = export(checkpoint, out=tmp_path / "b", settings=FEW)
    (bundle.path / "decoder.rtx.trt").write_bytes(b"plan of the earlier export")
    (bundle.path / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in bundle.path.iterdir()}
    with pytest.raises(UsageError, match="force=True"):
        export(checkpoint, out=bundle.path, settings=FEW)
    assert {path.name: path.read_bytes() for path in bundle.path.iterdir()} == before
    export(checkpoint, out=bundle.path, settings=ExportSettings(golden=None, force=True))
    assert sorted(p.name for p in bundle.path.iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "manifest.json",
        "notes.txt",
    ]


def test_force_never_takes_over_a_folder_that_is_no_bundle(checkpoint, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("...")
    with pytest.raises(UsageError, match="other files"):
        export(checkpoint, out=tmp_path / "home", settings=ExportSettings(force=True))
    with pytest.raises(UsageError, match="no such folder"):
        export(checkpoint, out=tmp_path / "no" / "where", settings=FEW)


def test_a_bad_checkpoint_leaves_nothing_behind(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"PK nonsense")
    with pytest.raises(CheckpointError, match=r"bad\.pt"):
        export(tmp_path / "bad.pt", out=tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pt"]


@pytest.fixture
def other_defaults():
    """What a caller may have told torch for purposes of its own."""
    yield lambda dtype, device: (torch.set_default_dtype(dtype), torch.set_default_device(device))
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize(
    ("dtype", "device", "name"),
    [
        (torch.float64, "cpu", "ckpt.pt"),
        (torch.float16, "cpu", "model.safetensors"),
        (torch.float32, "meta", "model.safetensors"),
        pytest.param(torch.float64, "cpu", "model.safetensors", marks=pytest.mark.slow),
        pytest.param(torch.float16, "cpu", "ckpt.pt", marks=pytest.mark.slow),
        pytest.param(torch.float32, "meta", "ckpt.pt", marks=pytest.mark.slow),
    ],
)
def test_torch_s_defaults_in_the_callers_session_change_no_byte(
    perturbed_glow, tmp_path, other_defaults, dtype, device, name
):
    from glow_deploy import verify

    glow, path = perturbed_glow(CONFIG), tmp_path / name
    save_checkpoint(glow, path)
    export(path, out=tmp_path / "plain", settings=FEW)
    other_defaults(dtype, device)
    export(path, out=tmp_path / "other", settings=FEW)
    for file in ("encoder.onnx", "decoder.onnx", "golden.npz", "manifest.json"):
        assert (tmp_path / "other" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes(), file
    backends = ["onnxruntime-cpu", "pytorch-fp64", "pytorch-fp32"]
    assert verify(tmp_path / "other", ckpt=path, backends=backends).sound


@pytest.mark.parametrize(("dtype", "device"), [(torch.float64, "cpu"), (torch.float32, "meta")])
def test_another_projects_checkpoint_is_read_whatever_torch_s_defaults_are(other_defaults, tmp_path, dtype, device):
    folder = Path(__file__).parents[2] / "fixtures/other_projects/rosinality_affine_lu"
    options = {"options": ImportOptions(image_size=(16, 16), n_bits=8), "golden": 3}
    export(folder / "model_000001.pt", out=tmp_path / "plain", **options)
    other_defaults(dtype, device)
    export(folder / "model_000001.pt", out=tmp_path / "other", **options)
    for file in ("encoder.onnx", "decoder.onnx", "golden.npz", "manifest.json"):
        assert (tmp_path / "other" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes(), file


def test_the_manifest_keeps_a_digest_of_every_part_of_both_graphs(checkpoint, tmp_path):
    from glow_deploy.artifact.weights import NODES, part_digests

    bundle = export(checkpoint, out=tmp_path / "b", settings=FEW)
    kept = bundle.manifest.numerics.weights
    for role in ("encoder", "decoder"):
        model = onnx.load(bundle.path / f"{role}.onnx")
        held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        assert {part: kept[role][part] for part in kept[role] if part != NODES} == part_digests(held)
        assert len(kept[role][NODES]) == 64
        steps = {f"level{level}/step0{step}" for level in (1, 2) for step in (1, 2)}
        assert set(kept[role]) >= steps | {"level1/split", "prior"}


@pytest.mark.parametrize(("golden", "missing"), [(2, "class 2, 3, 4"), (5, "")])
def test_classes_without_a_golden_image_are_named(perturbed_glow, tmp_path, golden, missing):
    config = GlowConfig(**{**CONFIG.to_dict(), "num_classes": 5})
    save_checkpoint(perturbed_glow(config), tmp_path / "c.pt")
    bundle = export(tmp_path / "c.pt", out=tmp_path / "b", settings=ExportSettings(golden=golden))
    notes = [note for note in bundle.manifest.numerics.notes if "no golden image is of" in note]
    assert len(notes) == bool(missing)
    if missing:
        assert f"{missing}: 2 of 5 classes are covered" in notes[0]
        assert "--golden 5" in notes[0]
