"""Whole runs on toy images."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import curve, toy_config, toy_images, toy_training

from glow_core import load_checkpoint, read_checkpoint
from glow_core.errors import TrainingError
from glow_core.model import Glow
from glow_core.training import ArrayImages, Progress, dataset_bits_per_dim
from glow_core.training.data import spread
from glow_core.training.evaluation import draw_pixels


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A run of 150 steps: its folder, result, events and sample grids."""
    out = tmp_path_factory.mktemp("run")
    events: list[Progress] = []
    grids: list[tuple[int, np.ndarray]] = []
    result = toy_training(
        out,
        max_steps=120,
        validate_every=40,
        checkpoint_every=40,
        sample_every=80,
        progress=events.append,
        sample_writer=lambda step, pixels: grids.append((step, pixels)),
    )
    return out, result, events, grids


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


def test_logs_and_events(run) -> None:
    out, _, events, _ = run
    with (out / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == list(range(1, 121))
    steps = [event for event in events if event.event == "step"]
    assert [float(row["bits_per_dim"]) for row in rows] == [event.bits_per_dim for event in steps]
    assert [row["step"] for row in rows if row["validation_bits_per_dim"]] == ["40", "80", "120"]
    assert steps[-1].fraction == 1.0
    assert steps[-1].eta_seconds == 0.0
    assert steps[60].steps_per_second > 0
    assert steps[60].eta_seconds > 0
    assert [event.step for event in events if event.event == "checkpoint"] == [0, 40, 80, 120]


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


def test_sample_grids(run) -> None:
    _, result, _, grids = run
    assert [step for step, _ in grids] == [80, 120]
    pixels = grids[-1][1]
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, 1, 8, 8))
    assert pixels.max() < 32
    again, bad = draw_pixels(load_checkpoint(result.checkpoint), 4, temperature=0.7, seed=0)
    assert bad == 0
    assert np.array_equal(again, pixels)


def test_non_finite_draws_are_left_out_and_counted(run, monkeypatch) -> None:
    sample = Glow.sample

    def broken(self, n, **options):
        x = sample(self, n, **options)
        x[1, 0, 2, 3] = float("nan")
        return x

    monkeypatch.setattr(Glow, "sample", broken)
    pixels, bad = draw_pixels(load_checkpoint(run[1].checkpoint), 4, temperature=0.7, seed=0)
    assert (len(pixels), bad) == (3, 1)


def test_validation_does_not_depend_on_the_batch_size(run) -> None:
    model, images = load_checkpoint(run[1].checkpoint), toy_images(40, seed=1)
    values = [dataset_bits_per_dim(model, images, batch_size=size) for size in (1, 7, 40)]
    assert values == pytest.approx([values[0]] * 3, abs=1e-6)
    assert abs(dataset_bits_per_dim(model, images, seed=1) - values[0]) > 1e-5
    order = np.arange(40)[::-1].copy()
    assert dataset_bits_per_dim(model, images, indices=order) == pytest.approx(values[0], abs=1e-6)


def test_runs_repeat_and_leave_the_callers_random_state(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    toy_training(tmp_path / "a", max_steps=6)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(6)
    toy_training(tmp_path / "b", max_steps=6)
    toy_training(tmp_path / "c", max_steps=6, seed=1)
    assert curve(tmp_path / "a") == curve(tmp_path / "b")
    assert curve(tmp_path / "a") != curve(tmp_path / "c")


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


def test_watchdog_stops_at_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: (the loss is (nan|-?inf)|a gradient)") as caught:
        toy_training(tmp_path, max_steps=200, learning_rate=300.0, clip_norm=None, checkpoint_every=1)
    failed = int(re.search(r"step (\d+)", str(caught.value)).group(1))
    checkpoint = read_checkpoint(tmp_path / "ckpt.pt")
    assert checkpoint.training["step"] < failed
    assert f"still holds step {checkpoint.training['step']}" in str(caught.value)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in checkpoint.model.values())
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("what", ["gradient", "weight"])
def test_watchdog_sees_gradients_and_weights(tmp_path: Path, monkeypatch, what: str) -> None:
    step = torch.optim.Adamax.step
    clip = torch.nn.utils.clip_grad_norm_

    def poison_gradient(parameters, limit):
        parameters[3].grad.flatten()[0] = float("inf")
        return clip(parameters, limit)

    def poison_weight(self, *args, **kwargs):
        step(self, *args, **kwargs)
        with torch.no_grad():
            self.param_groups[0]["params"][3].flatten()[0] = float("nan")

    def arm(progress: Progress) -> None:
        if progress.event == "step" and progress.step == 4:
            if what == "gradient":
                monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", poison_gradient)
            else:
                monkeypatch.setattr(torch.optim.Adamax, "step", poison_weight)

    with pytest.raises(TrainingError, match=f"step 5: .*{what}.* finite"):
        toy_training(tmp_path, max_steps=9, checkpoint_every=1, progress=arm)
    assert read_checkpoint(tmp_path / "ckpt.pt").training["step"] == 4


def test_a_run_can_end_by_time(tmp_path: Path) -> None:
    result = toy_training(tmp_path, max_steps=None, max_seconds=0.3)
    assert result.stopped == "time"
    assert 0.3 <= result.seconds < 5


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
    "options", [{}, {"inverse_penalty": 0.1, "inverse_penalty_images": 3, "conditioning_penalty": 0.01}]
)
def test_two_processes_follow_the_curve_of_one(tmp_path: Path, options: dict) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from training_toys import toy_training\n"
        f"toy_training({str(tmp_path / 'two')!r}, max_steps=int(sys.argv[1]), resume=len(sys.argv) > 2, **{options})\n"
    )
    (tmp_path / "job.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for arguments in (["10"], ["20", "resume"]):
        subprocess.run([*command, str(tmp_path / "job.py"), *arguments], env=environment, check=True, timeout=300)
    toy_training(tmp_path / "one", max_steps=10, **options)
    toy_training(tmp_path / "one", max_steps=20, resume=True, **options)
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
