"""How |x_hat - x| is spread over the decades, in pixel steps: the figure behind a maximum that looks alarming."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINS_PER_DECADE", "HIGHEST", "LOWEST", "ErrorHistogram", "bin_edges"]

LOWEST = 1e-7
HIGHEST = 1e3
BINS_PER_DECADE = 8
_DECADES = 10
_BINS = _DECADES * BINS_PER_DECADE


def bin_edges() -> np.ndarray:
    """Edges of the bins in pixel steps, float64 [81], from `LOWEST` to `HIGHEST`, 8 bins a decade."""
    edges = 10.0 ** (np.arange(_BINS + 1, dtype=np.float64) / BINS_PER_DECADE - 7.0)
    # Powers of ten themselves, not what the exponentiation makes of them.
    edges[0], edges[-1] = LOWEST, HIGHEST
    return edges


class ErrorHistogram:
    """Counts |x_hat - x| in log-spaced bins, image batch by image batch, in 650 bytes whatever the number of images.

    A bin holds the errors from its lower edge up to, but without, its upper edge. Errors below `LOWEST` (zero is one
    of them), from `HIGHEST` on, and those that are not finite are counted apart.

    Args:
        n_bits: of the model; one pixel step is 2^-n_bits in units of x.
    """

    def __init__(self, n_bits: int) -> None:
        self._steps = 2.0**n_bits
        self._edges = bin_edges()
        self._counts = np.zeros(_BINS + 2, dtype=np.int64)  # below, the bins, above
        self._n = 0
        self._non_finite = 0

    def add(self, x_hat: np.ndarray, x: np.ndarray) -> None:
        """Count one batch.

        Args:
            x_hat: reconstructions [N, C, H, W] of any float type.
            x: the images, the same shape.

        Raises:
            ValueError: the shapes differ; broadcasting would hide a missing row.
        """
        if x_hat.shape != x.shape:
            raise ValueError(f"cannot compare {x_hat.shape} with {x.shape}")
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(np.asarray(x_hat, dtype=np.float64) - np.asarray(x, dtype=np.float64)) * self._steps
        good = np.isfinite(error)
        finite = error[good]
        self._n += error.size
        self._non_finite += error.size - finite.size
        self._counts += np.bincount(np.searchsorted(self._edges, finite, side="right"), minlength=_BINS + 2)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report: the counts of all bins from the lowest on, and what lies outside them."""
        return {
            "unit": "pixel steps",
            "n": self._n,
            "non_finite": self._non_finite,
            "lowest": LOWEST,
            "highest": HIGHEST,
            "bins_per_decade": BINS_PER_DECADE,
            "below": int(self._counts[0]),
            "counts": [int(count) for count in self._counts[1:-1]],
            "above": int(self._counts[-1]),
        }
