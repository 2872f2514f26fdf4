"""The benchmark of precisions runs, and its rows keep their order of error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "precision.py"


@pytest.mark.slow
def test_the_precisions_of_a_quickly_trained_model_are_measured():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split("│")[1].strip(): line.split("│") for line in done.stdout.splitlines() if line.startswith("│")}
    assert set(rows) == {"fp32", "auto", "mixed", "bf16-mixed", "fp16", "tf32"}
    rms = {name: float(cells[4]) for name, cells in rows.items()}
    assert rms["fp32"] < rms["mixed"] < rms["fp16"]
    assert "conditioners in float16, chosen on 256 images" in done.stdout


@pytest.mark.slow
def test_other_projects_checkpoints_compute_what_their_own_code_does():
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("other_projects.py"))],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 10
    for name, _, z, bits, bits_onnx, round_trip in rows:
        assert float(z) < 1e-6, name
        assert float(bits) < 1e-6, name
        assert float(bits_onnx) < 1e-5, name
        assert float(round_trip) < 1e-2, name
