"""What a checkpoint holds of a run, and which run may take it up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import curve, toy_config, toy_images, toy_training

from glow_core.errors import CheckpointError, GlowCoreError, TrainingError
from glow_core.temporaries import host_name
from glow_core.training import ArrayImages, read_run
from glow_core.training.state import remove_leftovers


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    out = tmp_path_factory.mktemp("whole")
    toy_training(out, max_steps=24)
    return curve(out)


def test_time_and_notes_carry_over(tmp_path: Path) -> None:
    first = toy_training(tmp_path, max_steps=4, notes={"data": "toys"})
    state = read_run(tmp_path)
    assert state.notes == {"data": "toys"}
    assert state.config == toy_config()
    assert state.seconds == pytest.approx(first.seconds)
    second = toy_training(tmp_path, max_steps=6, resume=True)
    assert second.seconds > first.seconds


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


def test_only_what_a_session_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    host, ours = host_name(), os.getpid()
    left = [f".{name}.{host}.{ours}.00ff.tmp" for name in ("ckpt.pt", "model.safetensors", "log.csv")]
    others = [
        f".ckpt.pt.{host}x.{ours}.00ff.tmp",  # of another machine, on a shared disk
        f".ckpt.pt.{host}.{os.getppid()}.00ff.tmp",  # of a process that runs
        f".mine.csv.{host}.{ours}.00ff.tmp",
        ".ckpt.pt.mine.tmp",
    ]
    for name in (*left, *others):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(others)
