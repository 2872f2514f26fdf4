"""The same input twice: in one process, and in processes that open the engines afresh.

ONNX Runtime promises no equality (onnxruntime issue 9704), and TensorRT picks kernels by timing, so a difference is
reported with its size and is no failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.errors import EngineError
from glow_deploy.progress import CountProgress
from glow_deploy.verify.report.stress_rows import DeterminismRow

from .settings import Origin

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["ANSWER", "JOB", "QUESTION", "measure_determinism", "run_afresh", "run_backend"]

# What a fresh process finds in its folder, and leaves there.
JOB, QUESTION, ANSWER = "job.json", "question.npz", "answer.npz"

_TIMEOUT = 600.0  # seconds; opening a plan may compile its kernels first


def measure_determinism(
    backends: Sequence[Backend],
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    runs: int,
    processes: int,
    origin: Origin | None,
    progress: CountProgress | None = None,
) -> tuple[DeterminismRow, ...]:
    """Run the same images again and again on every backend.

    Args:
        backends: each against itself.
        x: float32 [N, C, H, W].
        y: labels [N], or None.
        runs: in this process, at least 2.
        processes: fresh ones.
        origin: where to open the engines again; without it no process is started.
        progress: called with (backends done, backends in all).

    Raises:
        EngineError: a fresh process failed.
    """
    rows: list[DeterminismRow] = []
    for done, backend in enumerate(backends, 1):
        first = run_backend(backend, x, y)
        here = _Largest(first)
        for _ in range(runs - 1):
            here.add(run_backend(backend, x, y))
        afresh = _Largest(first)
        count = processes if origin is not None else 0
        if origin is not None:
            for _ in range(count):
                afresh.add(run_afresh(origin, backend.name, x, y))
        worst = max(here, afresh, key=lambda found: found.difference)
        rows.append(
            DeterminismRow(
                backend=backend.name,
                runs=runs,
                processes=count,
                runs_equal=here.equal,
                processes_equal=afresh.equal if count else None,
                largest_difference=worst.difference,
                output=worst.output,
            )
        )
        if progress is not None:
            progress(done, len(backends))
    return tuple(rows)


def run_backend(backend: Backend, x: np.ndarray, y: np.ndarray | None) -> dict[str, np.ndarray]:
    """Encode x [N, C, H, W] with labels y [N] and decode the latents: every output by name."""
    encoded = backend.encode(x, y)
    latents = {f"z{level}": part for level, part in enumerate(encoded.z, 1)}
    return {**latents, "log_prob": encoded.log_prob, "x": backend.decode(encoded.z, y)}


def run_afresh(origin: Origin, backend: str, x: np.ndarray, y: np.ndarray | None) -> dict[str, np.ndarray]:
    """Open a backend in a new process and run it once.

    Args:
        origin: of its engines.
        backend: its name.
        x: float32 [N, C, H, W].
        y: labels [N], or None.

    Returns:
        Every output by name: z1 ... zL, log_prob and x.

    Raises:
        EngineError: the process failed; its own message is in this one.
    """
    job = {
        "bundle": str(origin.bundle.resolve()),
        # Only for the backends that read it: with it at hand, the others would load torch for nothing.
        "ckpt": str(origin.ckpt.resolve()) if origin.ckpt is not None and backend.startswith("pytorch") else None,
        "backend": backend,
        "device": origin.device,
        "threads": origin.threads,
        "trust_engine": origin.trust_engine,
        "signed": None if origin.signed is None else asdict(origin.signed),
    }
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as name:
        folder = Path(name)
        (folder / JOB).write_text(json.dumps(job))
        np.savez(folder / QUESTION, allow_pickle=False, **({"x": x} if y is None else {"x": x, "y": y}))
        # This very package, wherever the process is started.
        package = str(Path(__file__).resolve().parents[3])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "glow_deploy.verify.stress.child", str(folder)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"{backend}: a fresh process was not done after {_TIMEOUT:g} s") from None
        if done.returncode != 0:
            words = " ".join(done.stderr.split())[-400:] or f"exit code {done.returncode}"
            raise EngineError(f"{backend}: a fresh process that opened {origin.bundle} again failed: {words}")
        with np.load(folder / ANSWER) as archive:
            return {key: archive[key] for key in archive.files}


class _Largest:
    """Compares outputs with those of the first run, and keeps the largest difference."""

    def __init__(self, expected: Mapping[str, np.ndarray]) -> None:
        self._expected = expected
        self.equal = True
        self.difference = 0.0
        self.output = ""

    def add(self, obtained: Mapping[str, np.ndarray]) -> None:
        """Look at one more run."""
        if obtained.keys() != self._expected.keys():
            raise EngineError(f"one run gave {', '.join(obtained)}, another {', '.join(self._expected)}")
        for name, expected in self._expected.items():
            again = obtained[name]
            if np.array_equal(again, expected, equal_nan=True):
                continue
            self.equal = False
            difference = _difference(again, expected)
            if difference > self.difference:
                self.difference, self.output = difference, name


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest |a - b|; infinite where only one of the two is a finite number, or the shapes differ."""
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    good = np.isfinite(a)
    return float(np.abs(a[good].astype(np.float64) - b[good].astype(np.float64)).max(initial=0.0))
