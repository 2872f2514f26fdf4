"""Whole runs on toy images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import curve, toy_config, toy_images, toy_training

from glow_core import load_checkpoint, read_checkpoint
from glow_core.errors import TrainingError
from glow_core.training import ArrayImages, dataset_bits_per_dim
from glow_core.training.data import spread


def test_loss_falls(run) -> None:
    _, result, events, _ = run
    validations = [event.validation_bits_per_dim for event in events if event.event == "validation"]
    assert len(validations) == 3
    first = next(event.bits_per_dim for event in events if event.event == "step")
    assert validations[-1] < validations[0] < first - 0.4
    # The pixels are ramps with normal noise of 12 / 8 steps, whose entropy no model can be below.
    entropy = np.log2(12 / 8 * np.sqrt(2 * np.pi * np.e))
    assert entropy - 0.05 < validations[-1] < entropy + 0.3
    assert result.validation_bits_per_dim == validations[-1]
    assert result.best_bits_per_dim == min(validations)
    assert (result.step, result.stopped, result.epoch) == (120, "steps", 16.0)


def test_checkpoint_holds_averaged_weights_and_golden_images(run) -> None:
    _, result, _, _ = run
    checkpoint = read_checkpoint(result.checkpoint)
    validation = toy_images(40, seed=1)
    assert np.array_equal(checkpoint.images, validation.pixels[spread(40, 10)] >> 3)
    assert checkpoint.labels is None
    assert not torch.equal(checkpoint.ema["prior.mean"], checkpoint.model["prior.mean"])
    weights = read_checkpoint(result.weights)
    assert all(torch.equal(tensor, checkpoint.ema[name]) for name, tensor in weights.model.items())
    glow = load_checkpoint(result.checkpoint)
    x = torch.rand(4, 1, 8, 8)
    z, _ = glow.encode(x)
    assert float((glow.decode(z) - x).detach().abs().max()) < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam", "clip_value": 0.1, "clip_norm": None},
        {"channels_last": True, "weight_decay": 1e-4},
        {"config": toy_config(coupling="additive", permutation="plain")},
        {"config": toy_config(permutation="shuffle", bounded_scale=False)},
    ],
)
def test_options_train_and_resume(tmp_path: Path, changes: dict) -> None:
    toy_training(tmp_path / "whole", max_steps=12, **changes)
    toy_training(tmp_path / "halves", max_steps=7, validate_every=None, checkpoint_every=None, **changes)
    toy_training(tmp_path / "halves", max_steps=12, resume=True, **changes)
    ours, theirs = curve(tmp_path / "halves"), curve(tmp_path / "whole")
    assert [row[:-1] for row in ours] == [row[:-1] for row in theirs]
    assert float(ours[-1][2]) < float(ours[0][2])


def test_class_conditional_training_uses_the_labels(tmp_path: Path) -> None:
    result = toy_training(tmp_path, classes=3, max_steps=80)
    model = load_checkpoint(result.checkpoint)
    images = toy_images(40, seed=1, classes=3)
    right = dataset_bits_per_dim(model, images)
    wrong = dataset_bits_per_dim(model, ArrayImages(pixels=images.pixels, labels=(images.labels + 1) % 3))
    assert right < wrong - 0.01
    assert np.array_equal(read_checkpoint(result.checkpoint).labels, images.labels[spread(40, 10)])


def test_unwritable_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="cannot write to"):
        toy_training(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_batch_that_cannot_be_shared(tmp_path: Path, monkeypatch) -> None:
    from lightning_fabric import Fabric

    monkeypatch.setattr(Fabric, "world_size", 3)
    with pytest.raises(TrainingError, match="16 cannot be shared by 3"):
        toy_training(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"memory": "reversible"},
        {"inverse_penalty": 0.1, "inverse_penalty_images": 3, "conditioning_penalty": 0.01},
    ],
)
def test_two_processes_follow_the_curve_of_one(tmp_path: Path, options: dict) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from training_toys import toy_config, toy_training\n"
        f"toy_training({str(tmp_path / 'two')!r}, config=toy_config(steps=2), "
        f"max_steps=int(sys.argv[1]), resume=len(sys.argv) > 2, **{options})\n"
    )
    (tmp_path / "job.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for arguments in (["10"], ["20", "resume"]):
        subprocess.run([*command, str(tmp_path / "job.py"), *arguments], env=environment, check=True, timeout=300)
    alone = {**options, "memory": "plain", "config": toy_config(steps=2)}
    toy_training(tmp_path / "one", max_steps=10, **alone)
    toy_training(tmp_path / "one", max_steps=20, resume=True, **alone)
    ours, theirs = curve(tmp_path / "two"), curve(tmp_path / "one")
    assert [row[0] for row in ours] == [row[0] for row in theirs]
    for column in (2, 3):
        left, right = ([float(row[column]) for row in rows] for rows in (ours, theirs))
        assert left == pytest.approx(right, rel=1e-3)
    validated = [[float(row[-1]) for row in rows if row[-1]] for rows in (ours, theirs)]
    assert validated[0] == pytest.approx(validated[1], rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"inverse_penalty": 0.05, "inverse_penalty_every": 2}])
@pytest.mark.parametrize(("dtype", "device"), [(torch.float64, None), (torch.float32, "meta")])
def test_a_run_is_the_same_whatever_torch_s_defaults_are(
    tmp_path: Path, options: dict, dtype: torch.dtype, device: str | None
) -> None:
    toy_training(tmp_path / "plain", max_steps=8, **options)
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        toy_training(tmp_path / "other", max_steps=8, **options)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert curve(tmp_path / "other") == curve(tmp_path / "plain")
    ours, theirs = (read_checkpoint(tmp_path / name / "ckpt.pt") for name in ("other", "plain"))
    assert all(torch.equal(ours.model[name], theirs.model[name]) for name in theirs.model)
