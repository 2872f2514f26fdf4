"""Encode, decode, encode, decode: whether the error stays or builds up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.latents.specs import finite_rows
from glow_deploy.numerics.measures import ErrorAccumulator, ExactnessAccumulator
from glow_deploy.progress import CountProgress
from glow_deploy.verify.report.stress_rows import PassRow

from .rows import chunks, cycle

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["measure_passes"]


def measure_passes(
    backends: Sequence[Backend],
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    passes: Sequence[int],
    n_bits: int,
    batch: int,
    progress: CountProgress | None = None,
) -> tuple[PassRow, ...]:
    """Pass images round and round through each backend, unclamped.

    Args:
        backends: each against itself.
        x: float32 [N, C, H, W] at bin centres.
        y: labels, or None.
        passes: rising numbers of passes to look at.
        n_bits: of the model.
        batch: images at a time.
        progress: called with (backends done, backends in all).
    """
    rows: list[PassRow] = []
    for done, backend in enumerate(backends, 1):
        sums = {count: _Sums(n_bits) for count in passes}
        labels = cycle(y, len(x))
        for part in chunks(len(x), batch):
            start, chosen = x[part], None if labels is None else labels[part]
            now: np.ndarray = start
            for count in range(1, max(passes) + 1):
                now = backend.decode(backend.encode(now, chosen).z, chosen)
                if count in sums:
                    sums[count].add(now, start, first=part.start)
        first: PassRow | None = None
        for count in passes:
            row = sums[count].row(backend.name, passes=count, n=len(x), first=first)
            first = first or row
            rows.append(row)
        if progress is not None:
            progress(done, len(backends))
    return tuple(rows)


class _Sums:
    """One backend after one number of passes."""

    def __init__(self, n_bits: int) -> None:
        self._errors = ErrorAccumulator()
        self._exactness = ExactnessAccumulator(n_bits)
        self._lost = 0

    def add(self, now: np.ndarray, start: np.ndarray, *, first: int) -> None:
        """Compare a batch with the images it started as."""
        self._errors.add(now, start, first=first)
        self._exactness.add(now, start, first=first)
        self._lost += int(np.count_nonzero(~finite_rows(now)))

    def row(self, backend: str, *, passes: int, n: int, first: PassRow | None) -> PassRow:
        """The figures, the growth against the first row."""
        summary = self._errors.summary()
        growth = math.nan
        if first is not None and first.rms > 0.0:
            growth = summary.rms / first.rms * first.passes / passes
        return PassRow(
            backend=backend,
            passes=passes,
            n=n,
            non_finite=self._lost,
            rms=summary.rms,
            max=summary.max,
            images_exact=self._exactness.summary().images_exact,
            growth=growth,
        )
