"""Random numbers that depend on (seed, index) alone, whatever the batch size, the order or the backend.

Philox is counter-based (Salmon et al. 2011): the key is (seed, index), and the upper half of the 256-bit counter holds
the number of the draw and its purpose, so that streams never overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_seed
from glow_deploy.errors import UsageError

__all__ = ["dequantisation", "noise"]

_LATENTS = 0
_DEQUANTISATION = 1


def noise(
    seed: int, indices: npt.ArrayLike, shapes: Sequence[tuple[int, ...]], *, attempt: int = 0
) -> tuple[npt.NDArray[np.float32], ...]:
    """Draw standard normal latents: row i depends on (seed, indices[i], attempt) alone.

    Drawn in float64, one stream for all levels, z1 first, and rounded to float32.

    Args:
        seed: 0 .. 2^64-1.
        indices: whole numbers [n], each 0 .. 2^63-1: the numbers of the samples.
        shapes: (C, H, W) of each latent, z1 ... zL.
        attempt: 0 for the first draw, 1 for the first redraw, ...

    Returns:
        For each shape an array, float32 [n, C, H, W].

    Raises:
        UsageError: the seed is out of range.
    """
    rows = np.asarray(indices, dtype=np.int64)
    sizes = [math.prod(shape) for shape in shapes]
    flat = np.empty((len(rows), sum(sizes)), np.float32)
    for row, index in enumerate(rows):
        flat[row] = _stream(seed, int(index), attempt, _LATENTS).standard_normal(flat.shape[1])
    ends = np.cumsum([0, *sizes])
    return tuple(
        np.ascontiguousarray(flat[:, start:end]).reshape(len(rows), *shape)
        for start, end, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    )


def dequantisation(
    seed: int, indices: npt.ArrayLike, shape: tuple[int, ...], *, draw: int = 0
) -> npt.NDArray[np.float32]:
    """Draw dequantisation noise u ~ U[0, 1): row i depends on (seed, indices[i], draw) alone.

    Args:
        seed: 0 .. 2^64-1.
        indices: whole numbers [n]: the numbers of the images in their set.
        shape: (C, H, W).
        draw: 0, 1, ...: which of the draws for the same images.

    Returns:
        float32 [n, C, H, W], each a multiple of 2^-24.

    Raises:
        UsageError: the seed is out of range.
    """
    rows = np.asarray(indices, dtype=np.int64)
    u = np.empty((len(rows), *shape), np.float32)
    for row, index in enumerate(rows):
        u[row] = _stream(seed, int(index), draw, _DEQUANTISATION).random(shape, dtype=np.float32)
    return u


def _stream(seed: int, index: int, draw: int, purpose: int) -> np.random.Generator:
    seed = as_seed("seed", seed)
    if index < 0 or draw < 0:
        raise UsageError(f"sample numbers must be 0 or more, not {min(index, draw)}")
    key = np.array([seed, index], dtype=np.uint64)
    counter = np.array([0, 0, draw, purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
