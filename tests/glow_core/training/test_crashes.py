"""Killed, interrupted, or out of disk: the previous checkpoint stays whole and the curve goes on bit for bit."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_training

from glow_core import read_checkpoint
from glow_core.training import read_run


def leftovers(out: Path) -> list[Path]:
    return list(out.glob(".ckpt.pt.*.tmp"))


def logged_steps(out: Path) -> int:
    log = out / "log.csv"
    return log.read_bytes().count(b"\n") - 1 if log.is_file() else -1


def until(condition, *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the training process did not get there"


def assert_equal_states(left: Path, right: Path) -> None:
    ours, theirs = read_checkpoint(left / "ckpt.pt"), read_checkpoint(right / "ckpt.pt")
    for part in ("model", "ema"):
        for name, tensor in getattr(ours, part).items():
            assert torch.equal(tensor, getattr(theirs, part)[name]), f"{part} {name}"
    for number, state in ours.training["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, theirs.training["optimizer"]["state"][number][key]), f"{key} {number}"


def kill_and_resume(fork_server, tmp_path: Path, *, kills: int, steps: int) -> int:
    """Kill a run many times, resume it to the end, compare; returns how many kills fell into a save."""
    options = {"max_steps": steps, "checkpoint_every": 1, "validate_every": 5}
    toy_training(tmp_path / "whole", **options)
    out = tmp_path / "killed"
    rng = random.Random(0)
    in_save = 0
    for number in range(kills):
        pid = fork_server.start(out, resume=number > 0, **options)
        goal = steps * (number + 1) // (kills + 2)
        until(lambda: logged_steps(out) >= goal)  # noqa: B023
        if number % 2:
            time.sleep(rng.uniform(0, 0.03))
        else:
            until(lambda: leftovers(out))
        os.kill(pid, signal.SIGKILL)
        assert fork_server.wait(pid) == -signal.SIGKILL
        in_save += bool(leftovers(out))
        state = read_run(out)
        # Rows reach the log before the checkpoint that counts on them, so none can be missing.
        assert goal - 1 <= state.step <= logged_steps(out)
    toy_training(out, resume=True, **options)
    assert curve(out) == curve(tmp_path / "whole")
    assert_equal_states(out, tmp_path / "whole")
    assert not leftovers(out)
    return in_save


def test_sigkill_leaves_a_whole_checkpoint_and_the_same_curve(fork_server, tmp_path: Path) -> None:
    assert kill_and_resume(fork_server, tmp_path, kills=3, steps=20) >= 1


@pytest.mark.slow
def test_many_sigkills(fork_server, tmp_path: Path) -> None:
    assert kill_and_resume(fork_server, tmp_path, kills=10, steps=100) >= 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 15), (signal.SIGINT, 130)])
def test_a_stop_signal_finishes_the_step_and_saves(fork_server, tmp_path: Path, number: int, code: int) -> None:
    options = {"max_steps": 10_000, "checkpoint_every": None}
    pid = fork_server.start(tmp_path, **options)
    until(lambda: logged_steps(tmp_path) >= 6)
    assert read_run(tmp_path).step == 0
    os.kill(pid, number)
    assert fork_server.wait(pid) == code
    state = read_run(tmp_path)
    assert state.step >= 6
    assert curve(tmp_path)[-1][0] == str(state.step)


@pytest.mark.parametrize("limit", [64 * 1024, 100])
def test_a_full_disk_stops_the_run_and_keeps_the_checkpoint(fork_server, tmp_path: Path, limit: int) -> None:
    """64 KiB is less than a checkpoint; 100 bytes less than the log already holds."""
    out, messages = tmp_path / "run", tmp_path / "messages"
    pid = fork_server.start(
        out, max_steps=40, checkpoint_every=5, file_limit=limit, limit_after=7, messages=str(messages)
    )
    assert fork_server.wait(pid) == 2
    assert "cannot write" in messages.read_text()
    assert read_run(out).step == 5
    assert not leftovers(out)
    result = toy_training(out, resume=True, max_steps=12, checkpoint_every=5)
    assert result.step == 12
    assert [row[0] for row in curve(out)] == [str(step) for step in range(1, 13)]
