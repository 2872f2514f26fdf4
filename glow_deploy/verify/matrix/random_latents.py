"""z -> x -> z from latents drawn at random. Reported, not gated: a sound model can fail it far from the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glow_deploy.latents.noise import noise
from glow_deploy.latents.specs import conditional, finite_rows, latent_specs
from glow_deploy.numerics.measures import ErrorAccumulator
from glow_deploy.progress import CountProgress
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.report.rows import RandomReport

__all__ = ["measure_random"]


def measure_random(
    backends: Sequence[Backend],
    *,
    temperatures: Sequence[float],
    n: int,
    seed: int,
    batch: int,
    num_classes: int | None,
    progress: CountProgress | None = None,
) -> tuple[RandomReport, ...]:
    """Decode z ~ N(0, T^2) on every backend and encode the picture again on every backend.

    Args:
        backends: of the matrix; the first is what the others' pictures are compared with.
        temperatures: T >= 0, each a run of its own.
        n: draws each; draw i depends on (seed, i) alone.
        seed: of the draws.
        batch: draws at a time.
        num_classes: of a class-conditional model, whose labels go round.
        progress: called with (runs done, runs in all).
    """
    shapes = [spec.shape for spec in latent_specs(backends[0].decoder.inputs)]
    reports = []
    for step, temperature in enumerate(temperatures):
        rows = {(a.name, b.name): _Row(levels=len(shapes)) for a in backends for b in backends}
        for first in range(0, n, batch):
            indices = np.arange(first, min(n, first + batch))
            z = tuple(np.float32(temperature) * part for part in noise(seed, indices, shapes))
            y = indices % num_classes if num_classes and conditional(backends[0].decoder) else None
            pictures = {b.name: b.decode(z, y) for b in backends}
            for a in backends:
                for b in backends:
                    rows[a.name, b.name].add(a, pictures[b.name], z, y, pictures[backends[0].name], first=first)
        reports += [
            RandomReport(
                encode=a,
                decode=b,
                temperature=temperature,
                n=n,
                lost=row.lost,
                z_error=tuple(part.summary() for part in row.z),
                x_between=row.x.summary(),
            )
            for (a, b), row in rows.items()
        ]
        if progress is not None:
            progress(step + 1, len(temperatures))
    return tuple(reports)


class _Row:
    def __init__(self, *, levels: int) -> None:
        self.z = [ErrorAccumulator() for _ in range(levels)]
        self.x = ErrorAccumulator()
        self.lost = 0

    def add(
        self,
        encoder: Backend,
        x: np.ndarray,
        z: tuple[np.ndarray, ...],
        y: np.ndarray | None,
        first_x: np.ndarray,
        *,
        first: int,
    ) -> None:
        again = encoder.encode(x, y)
        finite = finite_rows(x)
        for part in again.z:
            finite &= finite_rows(part)
        self.lost += int(len(x) - finite.sum())
        for accumulator, part, expected in zip(self.z, again.z, z, strict=True):
            accumulator.add(part[finite], expected[finite], first=first)
        both = finite_rows(x) & finite_rows(first_x)
        self.x.add(x[both], first_x[both], first=first)
