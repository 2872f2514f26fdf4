"""A checkpoint that is not the bundle's is told at once, and for what it is."""

from __future__ import annotations

import shutil

import pytest

from glow_core import Glow, GlowConfig, load_checkpoint, save_checkpoint
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.bench import BenchSettings, bench
from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine
from glow_deploy.engines.pytorch import folded_arrays
from glow_deploy.engines.trained import Trained
from glow_deploy.errors import CheckpointError, EngineError, UsageError
from glow_deploy.verify import VerifySettings, verify
from glow_deploy.verify.stress import Origin
from glow_deploy.verify.stress.determinism import run_afresh

CONFIG = {"image_size": (8, 8), "levels": 2, "steps": 3, "width": 12}  # of the models that `exported` makes


@pytest.fixture
def checkpoint_of(tmp_path):
    """Write a checkpoint of the exported models' shape but for what is told."""

    def write(**options):
        save_checkpoint(Glow(GlowConfig(**{**CONFIG, **options})), tmp_path / "other.pt")
        return tmp_path / "other.pt"

    return write


@pytest.fixture
def nothing_runs(monkeypatch):
    monkeypatch.setattr(OnnxRuntimeEngine, "run", lambda *a, **k: pytest.fail("it went to work"))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 10}, "num_classes 10, not none"),
        ({"image_size": (8, 16)}, "image_size 8x16, not 8x8"),
        ({"n_bits": 5}, "n_bits 5, not 8"),
        ({"coupling": "additive"}, "coupling additive, not affine"),
        ({"bounded_scale": False}, "bounded_scale off, not on"),
        ({"edge_bias": True}, "edge_bias on, not off"),
        ({"prior": "independent"}, "prior independent, not conditional"),
        ({"levels": 1, "width": 16}, "levels 1, not 2; width 16, not 12"),
    ],
)
def test_verify_and_bench_name_what_differs(sound, checkpoint_of, options, words):
    ckpt = checkpoint_of(**options)
    wanted = f"{ckpt} is not the model that {sound.bundle} was exported from ({words})"
    for work in (
        lambda: verify(sound.bundle, settings=VerifySettings(ckpt=ckpt)),
        lambda: verify(sound.bundle, settings=VerifySettings(ckpt=ckpt, backends=("onnxruntime-cpu",))),
        lambda: bench(sound.bundle, ckpt=ckpt),
        lambda: bench(
            sound.bundle, ckpt=ckpt, settings=BenchSettings(backends=("onnxruntime-cpu", "pytorch-fp32"), iterations=1)
        ),
        lambda: folded_arrays(Trained.of(Bundle.open(sound.bundle), ckpt)),
    ):
        with pytest.raises(UsageError) as caught:
            work()
        remedy = f"name the checkpoint it was exported from, or run `glow-deploy export {ckpt}`"
        assert str(caught.value) == f"{wanted}; {remedy}"
        assert caught.value.exit_code == 2


def test_a_class_conditional_bundle_names_the_number_of_classes(exported, checkpoint_of):
    model = exported(num_classes=3, seed=5)
    for classes, words in ((10, "num_classes 10, not 3"), (None, "num_classes none, not 3")):
        with pytest.raises(UsageError, match=words):
            verify(model.bundle, settings=VerifySettings(ckpt=checkpoint_of(num_classes=classes)))


def test_a_fresh_process_and_the_attack_hold_it_against_the_bundle_too(sound, exported, checkpoint_of):
    from glow_deploy.engines.pytorch_gradient import open_gradient

    ckpt = checkpoint_of(width=16)
    with pytest.raises(EngineError, match="width 16, not 12"):
        run_afresh(
            Origin(bundle=sound.bundle, ckpt=ckpt), "pytorch-fp64", Bundle.open(sound.bundle).golden().x[:1], None
        )
    with pytest.raises(UsageError, match="width 16, not 12"):
        open_gradient(Trained.of(Bundle.open(sound.bundle), ckpt))


def test_the_same_model_in_another_file_is_no_other_model(sound, tmp_path):
    """Converted, renamed or without its training state: what counts is the config."""
    for name in ("again.pt", "again.safetensors"):
        save_checkpoint(load_checkpoint(sound.ckpt), tmp_path / name)
        settings = VerifySettings(ckpt=tmp_path / name, backends=("pytorch-fp32",), random_draws=0)
        assert verify(sound.bundle, settings=settings).sound


def test_a_damaged_checkpoint_is_not_called_another_model(sound, tmp_path):
    shutil.copy(sound.ckpt, tmp_path / "cut.pt")
    with (tmp_path / "cut.pt").open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(CheckpointError, match=r"cut\.pt") as caught:
        verify(sound.bundle, settings=VerifySettings(ckpt=tmp_path / "cut.pt"))
    assert "exported from" not in str(caught.value)
