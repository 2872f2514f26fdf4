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

import pytest
from glow_cli.common.elastic import COUNT, run_to_go_on_with

from glow_deploy.errors import UsageError


def test_a_command_that_is_started_again_goes_on_with_its_run(tmp_path, monkeypatch):
    given = {"data", "out", "levels", "max_steps", "json"}
    (tmp_path / "ckpt.pt").touch()
    monkeypatch.delenv(COUNT, raising=False)
    assert run_to_go_on_with(tmp_path, given) == (None, given)
    monkeypatch.setenv(COUNT, "0")
    assert run_to_go_on_with(tmp_path, given) == (None, given)
    monkeypatch.setenv(COUNT, "2")
    assert run_to_go_on_with(tmp_path, given) == (tmp_path, {"data", "max_steps", "json"})
    assert run_to_go_on_with(tmp_path / "nothing-saved", given) == (None, given)
    with pytest.raises(UsageError, match=r"--force would begin .* anew: go on with it by --resume"):
        run_to_go_on_with(tmp_path, {*given, "force"})


TOYS = ("--data", "faces", "--levels", "1", "--steps", "1", "--width", "4", "--batch-size", "8", "--no-tensorboard")
TOYS += ("--device", "cpu", "--threads", "1", "--checkpoint-every", "5", "--validate-every", "1000")
TOYS += ("--validation-images", "8", "--sample-every", "1000")


def torchrun(folder, *options, steps):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options]
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
