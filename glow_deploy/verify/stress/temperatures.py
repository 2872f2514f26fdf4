"""z -> x -> z from latents drawn ever further from the data. Reported: a sound model can fail it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.latents.noise import noise
from glow_deploy.latents.specs import finite_rows, latent_specs
from glow_deploy.numerics.measures import ErrorAccumulator
from glow_deploy.progress import CountProgress
from glow_deploy.verify.report.stress_rows import TemperatureRow

from .rows import chunks, cycle

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["measure_temperatures"]


def measure_temperatures(
    backends: Sequence[Backend],
    y: np.ndarray | None,
    *,
    temperatures: Sequence[float],
    draws: int,
    seed: int,
    batch: int,
    progress: CountProgress | None = None,
) -> tuple[TemperatureRow, ...]:
    """Decode z ~ N(0, T^2) on every backend and encode the picture again, unclamped, on the same one.

    Args:
        backends: each against itself.
        y: labels that go round over the draws; None for a model without classes.
        temperatures: T >= 0.
        draws: at each; draw i depends on (seed, i) alone and is the same direction at every T. At T = 0 all are the
            same but for the class, so there one a class is decoded.
        seed: of the draws.
        batch: draws at a time.
        progress: called with (temperatures done, temperatures in all).
    """
    shapes = [spec.shape for spec in latent_specs(backends[0].decoder.inputs)]
    rows: list[TemperatureRow] = []
    for done, temperature in enumerate(temperatures, 1):
        n, labels = draws, cycle(y, draws)
        if temperature == 0.0:
            labels = None if labels is None else np.unique(labels)
            n = 1 if labels is None else len(labels)
        sums = {backend.name: _Sums() for backend in backends}
        for part in chunks(n, batch):
            z = tuple(
                np.float32(temperature) * level for level in noise(seed, np.arange(part.start, part.stop), shapes)
            )
            for backend in backends:
                sums[backend.name].add(backend, z, None if labels is None else labels[part])
        rows += [sums[backend.name].row(backend.name, temperature=temperature, n=n) for backend in backends]
        if progress is not None:
            progress(done, len(temperatures))
    return tuple(rows)


class _Sums:
    """One backend at one temperature."""

    def __init__(self) -> None:
        self._lost = self._lost_again = 0
        self._largest = -np.inf
        self._errors = ErrorAccumulator()

    def add(self, backend: Backend, z: tuple[np.ndarray, ...], y: np.ndarray | None) -> None:
        """Decode and encode a batch."""
        x = backend.decode(z, y)
        finite = finite_rows(x)
        self._lost += int(np.count_nonzero(~finite))
        values = x[np.isfinite(x)].astype(np.float64)
        if values.size:
            self._largest = max(self._largest, float(np.abs(values - 0.5).max()))
        again = backend.encode(x, y).z
        both = np.logical_and.reduce([finite, *(finite_rows(part) for part in again)])
        self._lost_again += int(np.count_nonzero(finite & ~both))
        for part, expected in zip(again, z, strict=True):
            self._errors.add(part[both], expected[both], first=0)

    def row(self, backend: str, *, temperature: float, n: int) -> TemperatureRow:
        """The figures."""
        return TemperatureRow(
            backend=backend,
            temperature=temperature,
            n=n,
            non_finite=self._lost,
            largest=self._largest,
            z_rms=self._errors.summary().rms,
            z_non_finite=self._lost_again,
        )
