"""A resumed run is the run that was never stopped; and a run cannot be lost or mixed up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_training

from glow_core.errors import TrainingError
from glow_core.model import Glow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    out = tmp_path_factory.mktemp("whole")
    toy_training(out, max_steps=24)
    return curve(out)


def halted(out: Path) -> Path:
    """A run stopped after 16 of 24 steps."""
    toy_training(out, max_steps=16)
    return out


def test_resumed_curve_is_the_uninterrupted_one(tmp_path: Path, whole: list, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a resumed model was initialised again")

    halted(tmp_path)
    monkeypatch.setattr(Glow, "initialize", refuse)
    result = toy_training(tmp_path, max_steps=24, resume=True)
    assert curve(tmp_path) == whole
    assert (result.step, result.stopped) == (24, "steps")


@pytest.mark.parametrize("forget", ["moments", "average", "flags", "weights", "step"])
def test_control_a_forgotten_part_of_the_state_changes_the_curve(tmp_path: Path, whole: list, forget: str) -> None:
    path = halted(tmp_path) / "ckpt.pt"
    content = torch.load(path, weights_only=True)
    del content["digest"]  # which would tell
    if forget == "moments":
        for state in content["training"]["optimizer"]["state"].values():
            state["exp_avg"].zero_()
    elif forget == "average":
        content["ema"] = content["model"]
    elif forget == "flags":
        for name, tensor in content["model"].items():
            if name.endswith("initialized"):
                tensor.zero_()
    elif forget == "weights":
        content["model"] = content["ema"]
    else:
        content["training"]["step"] = 15
    torch.save(content, path)
    toy_training(tmp_path, max_steps=24, resume=True)
    assert curve(tmp_path) != whole


def test_log_is_cut_back_to_the_checkpoint(tmp_path: Path, whole: list) -> None:
    log = halted(tmp_path) / "log.csv"
    log.write_text(log.read_text() + "17,2.2,9.0,1.0,1.0,0.001,\n18,2.3,9.1,1.")
    toy_training(tmp_path, max_steps=24, resume=True)
    assert curve(tmp_path) == whole


def test_resuming_a_finished_run_does_nothing(tmp_path: Path) -> None:
    first = toy_training(tmp_path)
    before = (tmp_path / "log.csv").read_bytes()
    second = toy_training(tmp_path, resume=True)
    assert (second.step, second.validation_bits_per_dim) == (first.step, first.validation_bits_per_dim)
    assert (tmp_path / "log.csv").read_bytes() == before


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    halted(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match="already holds a run"):
        toy_training(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    toy_training(tmp_path, max_steps=3, overwrite=True)
    assert [row[0] for row in curve(tmp_path)] == ["1", "2", "3"]
