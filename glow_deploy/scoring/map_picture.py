"""Maps of surprise as pictures for people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .threshold import SurpriseMaps

__all__ = ["map_picture"]

_SIDE = 128  # pixels to which the smaller side of a small picture is enlarged
_GAP = 4
_WHITE_AT = 2.0  # times the threshold, from where on a map is as bright as can be
_MARK = (255, 64, 64)


def map_picture(
    values: npt.NDArray[np.uint8], maps: SurpriseMaps, index: int, *, threshold: float
) -> npt.NDArray[np.uint8]:
    """Draw one picture beside its maps: as it is with its strange pixels framed, by latents, by patches, by both.

    The maps are grey: black is as normal as can be, mid grey the threshold, white twice that and more.

    Args:
        values: uint8 [C, H, W], 8-bit values of the picture.
        maps: of several pictures.
        index: which of them it is.
        threshold: from where on a pixel is strange.

    Returns:
        uint8 [3, H', W'].
    """
    _, height, width = values.shape
    scale = max(1, round(_SIDE / min(height, width)))
    colour = np.repeat(values, 3, axis=0) if len(values) == 1 else values
    first = _large(colour, scale)
    marked = _large((maps.both[index] > threshold)[None], scale)[0]
    for channel, level in enumerate(_MARK):
        first[channel][_edge(marked)] = level
    panels = [first]
    for name in ("latents", "patches", "both"):
        grey = np.clip(getattr(maps, name)[index] / (_WHITE_AT * max(threshold, 1e-6)), 0, 1)
        panels.append(_large(np.repeat((grey * 255).astype(np.uint8)[None], 3, axis=0), scale))
    gap = np.full((3, first.shape[1], _GAP), 255, np.uint8)
    row = [part for panel in panels for part in (panel, gap)][:-1]
    whole = np.concatenate(row, axis=2)
    return np.pad(whole, ((0, 0), (_GAP, _GAP), (_GAP, _GAP)), constant_values=255)


def _large(picture: npt.NDArray[np.generic], scale: int) -> npt.NDArray[np.generic]:
    return picture.repeat(scale, axis=1).repeat(scale, axis=2)


def _edge(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The outermost two pixels of what is marked."""
    inner = np.pad(marked, 2)
    kept = marked.copy()
    for rows, columns in ((0, 2), (4, 2), (2, 0), (2, 4)):
        kept &= inner[rows : rows + marked.shape[0], columns : columns + marked.shape[1]]
    return marked & ~kept
