"""Several pictures side by side as one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError

__all__ = ["grid"]

_READABLE = 64  # pixels: the size to which `scale=None` brings the smaller side of a picture


def grid(
    values: npt.NDArray[np.uint8],
    *,
    columns: int | None = None,
    scale: int | None = None,
    padding: int = 2,
    background: int = 255,
) -> npt.NDArray[np.uint8]:
    """Lay pictures out row by row in one picture.

    Args:
        values: uint8 [N, C, H, W], 8-bit, C = 1 or 3, N >= 1.
        columns: pictures in a row; None makes the grid as square as possible.
        scale: whole-number enlargement without smoothing; None enlarges small pictures to about 64 pixels.
        padding: pixels between pictures and around the grid, not enlarged.
        background: grey level 0..255 of the padding and of empty cells.

    Returns:
        uint8 [C, rows * (H * scale + padding) + padding, columns * (W * scale + padding) + padding].

    Raises:
        DataError: `values` is not uint8 [N, C, H, W].
        UsageError: an option is out of range.
    """
    if values.dtype != np.uint8 or values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise DataError(f"a grid needs uint8 [N,C,H,W] with C = 1 or 3, not {values.dtype} {values.shape}")
    n, channels, height, width = values.shape
    if columns is not None and columns < 1:
        raise UsageError(f"columns must be at least 1, not {columns}")
    if scale is not None and scale < 1:
        raise UsageError(f"scale must be at least 1, not {scale}")
    if padding < 0:
        raise UsageError(f"padding must be at least 0, not {padding}")
    if not 0 <= background <= 255:
        raise UsageError(f"background must be 0 to 255, not {background}")
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    scale = scale or max(1, round(_READABLE / min(height, width)))
    rows = math.ceil(n / columns)
    cell_h, cell_w = height * scale + padding, width * scale + padding
    out = np.full((channels, rows * cell_h + padding, columns * cell_w + padding), background, np.uint8)
    for index in range(n):
        top = padding + (index // columns) * cell_h
        left = padding + (index % columns) * cell_w
        enlarged = values[index].repeat(scale, axis=1).repeat(scale, axis=2)
        out[:, top : top + height * scale, left : left + width * scale] = enlarged
    return out
