"""How well a score tells two groups apart: the area under the ROC curve, with an interval that holds near 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

__all__ = ["auc", "auc_interval"]

_Z95 = 1.959963984540054
_HALVINGS = 60


def auc(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive scores higher than a negative, ties counting half (Mann-Whitney).

    Args:
        scores: [n], finite.
        positive: bool [n], with at least one of either kind.

    Raises:
        DataError: one of the groups is empty, or a score is not finite.

    Examples:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75
    """
    above, below = scores[positive].astype(np.float64), np.sort(scores[~positive].astype(np.float64))
    if not above.size or not below.size:
        raise DataError("an AUC needs images with the attribute and images without it")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise DataError("an AUC needs finite scores")
    wins = np.searchsorted(below, above, side="left").sum() + np.searchsorted(below, above, side="right").sum()
    return float(wins / (2 * above.size * below.size))


def auc_interval(value: float, *, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an AUC: all areas from which the one found lies at most 1.96 standard errors away.

    The standard error is that of Hanley and McNeil (1982), taken at the bound itself as Newcombe (2006) does: taken at
    the value found it would be 0 for an AUC of 1.

    Examples:
        >>> low, high = auc_interval(1.0, positives=20, negatives=20)
        >>> round(low, 3), high
        (0.899, 1.0)
    """

    def beyond(area: float) -> bool:
        return abs(value - area) > _Z95 * _standard_error(area, positives, negatives)

    return _edge(value, 0.0, beyond), _edge(value, 1.0, beyond)


def _standard_error(area: float, positives: int, negatives: int) -> float:
    q1 = area / (2 - area)
    q2 = 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(variance, 0.0) / (positives * negatives))


def _edge(inside: float, outside: float, beyond: Callable[[float], bool]) -> float:
    """Where `beyond` turns true between an area that is not and the end of the scale; that end if it never does."""
    if not beyond(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
    return inside
