"""A process of a distributed run is lost, and torchrun starts all of them again."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from glow_cli.common.elastic import COUNT, RUN_ID, run_to_go_on_with, starter

from glow_core import GlowConfig
from glow_core.training import ArrayImages, TrainSettings, train
from glow_deploy.errors import UsageError


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Begins a run of one step under a torchrun of that id; None: under none."""

    def begin(run_id: str | None) -> Path:
        set_id(monkeypatch, run_id)
        config = GlowConfig(image_size=(4, 4), channels=1, levels=1, steps=1, width=4)
        images = ArrayImages(pixels=np.random.default_rng(0).integers(0, 256, (8, 1, 4, 4), dtype=np.uint8))
        settings = TrainSettings(max_steps=1, batch_size=4, device="cpu", tensorboard=False, sample_count=0)
        notes = {"data": "faces", **starter()}
        monkeypatch.delenv(RUN_ID, raising=False)  # so that nobody waits for other processes
        train(
            config,
            train_images=images,
            validation_images=images,
            out=tmp_path / "run",
            settings=settings,
            overwrite=True,
            notes=notes,
        )
        set_id(monkeypatch, run_id)
        return tmp_path / "run"

    return begin


def set_id(monkeypatch, run_id):
    if run_id is None:
        monkeypatch.delenv(RUN_ID, raising=False)
    else:
        monkeypatch.setenv(RUN_ID, run_id)


def test_a_command_that_is_started_again_goes_on_with_its_own_run(tmp_path, monkeypatch, begun):
    given = {"data", "out", "levels", "max_steps", "json"}
    run = begun("mine")
    monkeypatch.delenv(COUNT, raising=False)
    assert run_to_go_on_with(run, given) == (None, given)
    monkeypatch.setenv(COUNT, "0")
    assert run_to_go_on_with(run, given) == (None, given)
    monkeypatch.setenv(COUNT, "2")
    assert run_to_go_on_with(run, given) == (run, {"data", "max_steps", "json"})
    assert run_to_go_on_with(tmp_path / "nothing-saved", given) == (None, given)
    with pytest.raises(UsageError, match=r"--force would begin .* anew: go on with it by --resume"):
        run_to_go_on_with(run, {*given, "force"})

    def is_left() -> bool:
        return run_to_go_on_with(run, given) == (None, given)

    set_id(monkeypatch, "another")
    assert is_left()
    assert run_to_go_on_with(run, {*given, "force"}) == (None, {*given, "force"})  # as the first start would have
    set_id(monkeypatch, "mine")
    assert not is_left()  # a control
    monkeypatch.setattr(os, "getppid", lambda: os.getpid())  # the same id by hand, of another process
    assert is_left()
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")  # there the id alone counts, and it was marked otherwise
    assert is_left()
    assert starter()
    for unnamed in ("none", ""):
        set_id(monkeypatch, unnamed)
        assert starter() == {}
    monkeypatch.undo()
    monkeypatch.setenv(COUNT, "2")
    begun(None)
    set_id(monkeypatch, "mine")
    assert is_left()
    (run / "ckpt.pt").write_bytes(b"damaged")
    assert is_left()


TOYS = ("--data", "faces", "--levels", "1", "--steps", "1", "--width", "4", "--batch-size", "8", "--no-tensorboard")
TOYS += ("--device", "cpu", "--threads", "1", "--checkpoint-every", "5", "--validate-every", "1000")
TOYS += ("--validation-images", "8", "--sample-every", "1000")


def torchrun(folder, *options, steps, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options]
    command += ["-m", "glow_cli", "train", "--out", folder, *TOYS, "--max-steps", steps]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen(
        list(map(str, command)), env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def curve(folder):
    """What log.csv says of every step, without its time and without the validation that ends a run."""
    with (folder / "log.csv").open() as handle:
        return [{**row, "seconds": "", "validation_bits_per_dim": ""} for row in csv.DictReader(handle)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_process_costs_no_step(tmp_path, invoke):
    """The survivor names the loss, and both go on from the last checkpoint: the curve is the same bit for bit.

    So it is within rounding when one process alone goes on with the run of two.
    """
    process = torchrun(tmp_path / "run", "--max-restarts=1", steps=100)
    try:
        victim = None
        until = time.monotonic() + 120
        while victim is None and time.monotonic() < until:
            time.sleep(0.1)
            log = tmp_path / "run" / "log.csv"
            if log.exists() and log.read_bytes().count(b"\n") > 12:
                victim = rank_one_below(process.pid)
        os.kill(victim, signal.SIGKILL)
        _, said = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert re.search(r"error: step \d+: another of the 2 processes .* still holds step \d+; .*--resume", said)
    whole = torchrun(tmp_path / "whole", steps=110)
    assert whole.communicate(timeout=180)[0] is None
    assert whole.returncode == 0
    expected = curve(tmp_path / "whole")
    assert len(expected) == 110
    assert curve(tmp_path / "run") == expected[:100]
    assert invoke("train", "--resume", tmp_path / "run", "--max-steps", 110, "--threads", 1).exit_code == 0
    alone = curve(tmp_path / "run")[100:]
    for name in ("bits_per_dim", "grad_norm"):
        found, wanted = ([float(row[name]) for row in rows] for rows in (alone, expected[100:]))
        assert found == pytest.approx(wanted, rel=1e-3)
    assert [row["step"] for row in alone] == [str(step) for step in range(101, 111)]


@pytest.mark.slow
def test_the_run_of_somebody_else_is_left_alone(tmp_path, invoke):
    """Refused at the first start, a command is refused after a restart too."""
    assert invoke("train", "--out", tmp_path / "run", *TOYS, "--max-steps", 2).exit_code == 0
    before = (tmp_path / "run" / "ckpt.pt").read_bytes()
    process = torchrun(tmp_path / "run", "--max-restarts=1", steps=4, processes=1)
    _, said = process.communicate(timeout=180)
    assert process.returncode != 0
    assert said.count("already holds a run") == 2, said
    assert (tmp_path / "run" / "ckpt.pt").read_bytes() == before


def rank_one_below(parent):
    """The process of rank 1 that torchrun started."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            above = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (place / "environ").read_bytes().split(b"\0") if above == parent else []
        except OSError:
            continue
        if b"RANK=1" in environment:
            return int(place.name)
    return None
