"""Small helpers that every part of a stress test needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["chunks", "cycle", "image_rms"]


def cycle(y: npt.NDArray[np.int64] | None, n: int) -> npt.NDArray[np.int64] | None:
    """Labels for n images: those there are, over and over; None for a model without classes."""
    return None if y is None else y[np.arange(n) % len(y)]


def chunks(n: int, size: int) -> Iterator[slice]:
    """Walk through n rows, `size` at a time."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def image_rms(obtained: np.ndarray, expected: np.ndarray) -> npt.NDArray[np.float64]:
    """Root mean square difference of each of N images, float64 [N]; infinite where a value is non-finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = obtained.astype(np.float64) - expected.astype(np.float64)
        rms = np.sqrt(np.square(error).reshape(len(error), -1).mean(axis=1))
    return np.asarray(np.where(np.isfinite(rms), rms, np.inf))
