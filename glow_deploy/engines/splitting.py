"""Cutting a batch into pieces that an engine takes: that a profile allows, that fit into memory, or of fixed sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Piece", "fixed_pieces", "pad_rows", "split_batch"]


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a batch, run as a batch of `rows` (more than it has, below the profile's minimum)."""

    start: int
    stop: int
    rows: int


def split_batch(batch: int, *, smallest: int, largest: int) -> list[Piece]:
    """Cut a batch into pieces of `largest` rows and a rest, which is padded up to `smallest`.

    Args:
        batch: number of rows, >= 1.
        smallest: the profile's minimum batch, >= 1.
        largest: its maximum, >= `smallest`.
    """
    if not (batch >= 1 and 1 <= smallest <= largest):
        raise ValueError(f"cannot split {batch} rows into batches of {smallest} to {largest}")
    pieces = []
    for start in range(0, batch, largest):
        stop = min(start + largest, batch)
        pieces.append(Piece(start, stop, max(stop - start, smallest)))
    return pieces


def fixed_pieces(batch: int, sizes: Sequence[int]) -> list[Piece]:
    """Cut a batch into pieces of given sizes, large ones first; one that is more than half full is padded.

    Args:
        batch: number of rows, >= 1.
        sizes: the batch sizes that there are, 1 among them.
    """
    if batch < 1 or 1 not in sizes:
        raise ValueError(f"cannot cut {batch} rows into batches of {list(sizes)}")
    pieces: list[Piece] = []
    start = 0
    for size in sorted(sizes, reverse=True):
        while 2 * (batch - start) > size:
            stop = min(start + size, batch)
            pieces.append(Piece(start, stop, size))
            start = stop
    return pieces


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Repeat the last row until there are `rows`: real data, so that no backend meets a value it could trip over."""
    missing = rows - array.shape[0]
    if missing <= 0:
        return array
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
