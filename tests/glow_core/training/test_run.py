"""One session of a run: what it does besides lowering the loss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_training

from glow_core import read_checkpoint
from glow_core.errors import TrainingError
from glow_core.training import Progress


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
