"""Choosing images so that every class is among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["class_rounds"]


def class_rounds(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Choose `count` images round by round: the first of every class, then the second of every class, and so on.

    So the first K of them are of K classes, even of a set that is sorted by class, and no class is left out while
    another has two.

    Args:
        labels: [N].
        count: images wanted; all where there are fewer.

    Returns:
        Row numbers, int64 [min(count, N)]; the same for the same labels.
    """
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    rounds = np.empty(len(labels), np.int64)
    rounds[by_class] = np.arange(len(labels)) - starts
    return np.lexsort((labels, rounds))[:count]
