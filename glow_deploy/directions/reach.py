"""How far images can be moved along a direction before their decodes stop being sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.latents.coding import Latents
from glow_deploy.protocol import Engine

from .soundness import Soundness, bisect, examine, round_trip_limits

__all__ = ["Reach", "measure_reach"]

_GRID = 6  # points up to the limit that are tried one after another: soundness need not end only once
_HALVINGS = 4  # of the grid's cell where it ends


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a direction can be followed, one way.

    Attributes:
        amount: the amount up to which the share of images asked for stayed sound, 0 or more.
        median: the amount up to which half of them did.
        images: how many images that is measured on.
    """

    amount: float
    median: float
    images: int


def measure_reach(
    encoder: Engine,
    decoder: Engine,
    latents: Latents,
    step: Sequence[npt.NDArray[np.floating]],
    *,
    limit: float,
    survival: float,
    soundness: Soundness,
    batch: int = 64,
) -> Reach:
    """Search for the largest amount at which z + amount * step is sound, on each image.

    Args:
        encoder: of the same model as the decoder.
        decoder: open as well.
        latents: of the images.
        step: the direction with its sign, one [C, H, W] a level.
        limit: amounts up to this are tried.
        survival: share of the images that `amount` is for.
        soundness: what a decode must keep.
        batch: rows run at once.

    Raises:
        UnsoundModelError: an image is not sound even as it is.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> from glow_deploy.latents import encode_images
        >>> encoder, decoder = example_pair(size=(2, 2))
        >>> grey = encode_images(encoder, np.full((8, 1, 2, 2), 128, np.uint8))
        >>> step = [np.full(level.shape[1:], 4.0) for level in grey.z]  # z = 4 (x - 0.5): one whole range of x
        >>> found = measure_reach(encoder, decoder, grey, step, limit=6, survival=0.95, soundness=Soundness(margin=1))
        >>> 1.4 < found.amount < 1.5  # from the middle to the end of the range, and one range beyond
        True
    """
    unedited = examine(encoder, decoder, latents.z, labels=latents.labels, batch=batch)
    limits = round_trip_limits(unedited, soundness, names=latents.names)

    def holds(rows: npt.NDArray[np.int64], amounts: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        scale = amounts[:, None, None, None]
        moved = [z[rows] + scale * way for z, way in zip(latents.z, step, strict=True)]
        labels = None if latents.labels is None else latents.labels[rows]
        return examine(encoder, decoder, moved, labels=labels, batch=batch).sound(soundness, limits[rows])

    low, high = np.zeros(len(latents)), np.zeros(len(latents))
    going = np.arange(len(latents))
    for point in range(1, _GRID + 1):
        amount = limit * point / _GRID
        good = holds(going, np.full(len(going), amount))
        low[going[good]] = amount
        high[going[~good]] = amount
        going = going[good]
        if not going.size:
            break
    found = np.sort(bisect(low, high, holds, steps=_HALVINGS))
    return Reach(
        amount=float(found[_lost(survival, len(found))]), median=float(found[_lost(0.5, len(found))]), images=len(found)
    )


def _lost(survival: float, count: int) -> int:
    """How many of `count` images may be lost so that the share that survives is not smaller than asked for."""
    return min(count - 1, int(np.floor(count * (1 - survival) + 1e-9)))
