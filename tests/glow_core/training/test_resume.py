"""A resumed run is the run that was never stopped; and a run cannot be lost or mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import curve, toy_config, toy_images, toy_training

from glow_core.errors import CheckpointError, GlowCoreError, TrainingError
from glow_core.model import Glow
from glow_core.training import ArrayImages, read_run


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


def test_tensorboard_hides_what_is_repeated(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_training(tmp_path, max_steps=10, checkpoint_every=100, tensorboard=True)
    toy_training(tmp_path, max_steps=12, tensorboard=True, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("bits_per_dim")] == list(range(1, 13))
    assert events.Tags()["images"]


def test_time_and_notes_carry_over(tmp_path: Path) -> None:
    first = toy_training(tmp_path, max_steps=4, notes={"data": "toys"})
    state = read_run(tmp_path)
    assert state.notes == {"data": "toys"}
    assert state.config == toy_config()
    assert state.seconds == pytest.approx(first.seconds)
    second = toy_training(tmp_path, max_steps=6, resume=True)
    assert second.seconds > first.seconds


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    halted(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match="already holds a run"):
        toy_training(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    toy_training(tmp_path, max_steps=3, overwrite=True)
    assert [row[0] for row in curve(tmp_path)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": toy_config(width=16)}, "width 8, now 16"),
        ({"config": toy_config(n_bits=4)}, "n_bits 5, now 4"),
        ({"batch_size": 8}, "batch_size 16, now 8"),
        ({"seed": 7}, "seed 0, now 7"),
        ({"optimizer": "adam"}, "optimizer adamax, now adam"),
        ({"train_images": toy_images(121)}, "other train images"),
        ({"validation_images": toy_images(40, seed=5)}, "other validation images"),
    ],
)
def test_another_model_or_other_data_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    toy_training(tmp_path, max_steps=2)
    before = (tmp_path / "ckpt.pt").read_bytes()
    with pytest.raises(TrainingError, match=message):
        toy_training(tmp_path, resume=True, **changes)
    assert (tmp_path / "ckpt.pt").read_bytes() == before


def test_one_changed_image_among_few_is_noticed(tmp_path: Path) -> None:
    toy_training(tmp_path, max_steps=1)
    pixels = toy_images().pixels.copy()
    pixels[57, 0, 3, 3] ^= 1
    with pytest.raises(TrainingError, match="other train images"):
        toy_training(tmp_path, max_steps=2, resume=True, train_images=ArrayImages(pixels=pixels))


def test_bad_checkpoints_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        toy_training(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    toy_training(tmp_path, max_steps=1)
    path = tmp_path / "ckpt.pt"
    whole = path.read_bytes()
    for broken in (whole[:-1000], np.random.default_rng(0).bytes(5000), b""):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError):
            toy_training(tmp_path, resume=True)
        assert path.read_bytes() == broken
    content = torch.load(tmp_path / "ckpt.pt", weights_only=True) if path.write_bytes(whole) else {}
    for damage in ("settings", "optimizer", None):
        changed = {**content, "training": None if damage is None else dict(content["training"])}
        if damage is not None:
            changed["training"][damage] = {"batch_sizes": 3}
        torch.save(changed, path)
        with pytest.raises(GlowCoreError):
            toy_training(tmp_path, max_steps=3, resume=True)


def test_a_flipped_bit_anywhere_in_the_state_stops_a_resume(tmp_path: Path) -> None:
    toy_training(tmp_path, max_steps=2)
    path = tmp_path / "ckpt.pt"
    whole = path.read_bytes()
    content = torch.load(path, weights_only=True)
    moments = [state["exp_avg"] for state in content["training"]["optimizer"]["state"].values()]
    kept = [max(moments, key=torch.Tensor.numel), content["training"]["rng"]["cpu"], content["ema"]["prior.mean"]]
    for tensor in kept:
        place = whole.index(tensor.numpy().tobytes()) + tensor.numpy().nbytes // 2
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"ckpt\.pt: damaged: .*copy the file again"):
            toy_training(tmp_path, max_steps=3, resume=True)
    path.write_bytes(whole)
    toy_training(tmp_path, max_steps=3, resume=True)
