"""x -> z -> x of images that no data set holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.latents.specs import finite_rows
from glow_deploy.numerics.measures import ErrorAccumulator, ExactnessAccumulator
from glow_deploy.progress import CountProgress
from glow_deploy.verify.report.stress_rows import InputRow

from .rows import chunks, cycle

if TYPE_CHECKING:
    from glow_deploy.verify.backends.backend import Backend

__all__ = ["measure_inputs"]


def measure_inputs(
    backends: Sequence[Backend],
    images: Mapping[str, np.ndarray],
    y: np.ndarray | None,
    *,
    n_bits: int,
    batch: int,
    progress: CountProgress | None = None,
) -> tuple[InputRow, ...]:
    """Encode and decode every kind of image on every backend.

    Args:
        backends: each against itself.
        images: by name, float32 [N, C, H, W] at bin centres.
        y: labels, repeated over the images of each kind; None for a model without classes.
        n_bits: of the model.
        batch: images at a time.
        progress: called with (kinds done, kinds in all).
    """
    rows: list[InputRow] = []
    for done, (name, x) in enumerate(images.items(), 1):
        labels = cycle(y, len(x))
        rows += [_measure(backend, name, x, labels, n_bits=n_bits, batch=batch) for backend in backends]
        if progress is not None:
            progress(done, len(images))
    return tuple(rows)


def _measure(backend: Backend, name: str, x: np.ndarray, y: np.ndarray | None, *, n_bits: int, batch: int) -> InputRow:
    errors, exactness = ErrorAccumulator(), ExactnessAccumulator(n_bits)
    lost, stage = 0, ""
    for rows in chunks(len(x), batch):
        labels = None if y is None else y[rows]
        encoded = backend.encode(x[rows], labels)
        x_hat = backend.decode(encoded.z, labels)
        errors.add(x_hat, x[rows], first=rows.start)
        exactness.add(x_hat, x[rows], first=rows.start)
        latents = np.logical_and.reduce([finite_rows(part) for part in encoded.z])
        # In the order in which they are computed, so that the first one named is where it began.
        stages = {"latents": latents, "log_prob": finite_rows(encoded.log_prob), "decode": finite_rows(x_hat)}
        lost += int(np.count_nonzero(~np.logical_and.reduce(list(stages.values()))))
        stage = stage or next((word for word, finite in stages.items() if not finite.all()), "")
    summary = errors.summary()
    return InputRow(
        backend=backend.name,
        name=name,
        n=len(x),
        non_finite=lost,
        stage=stage,
        rms=summary.rms,
        max=summary.max,
        images_exact=exactness.summary().images_exact,
    )
