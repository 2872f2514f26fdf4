"""Which pixels are missing: from a mask picture or from boxes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import read_picture

__all__ = ["box_mask", "fitted_boxes", "parse_box", "read_mask"]

Mask = npt.NDArray[np.bool_]

_WHITE = 128
_TOUCH = 1e-9  # of a pixel: less is rounding


def read_mask(path: str | os.PathLike[str], *, size: tuple[int, int], resize: bool = False) -> Mask:
    """Read a mask: what is white or transparent is missing, black is known; in between, 128 and above is missing.

    Args:
        path: a picture.
        size: (height, width) of the image.
        resize: crop and resample a mask of another size, as the image is.

    Returns:
        bool [H, W], True where pixels are missing.

    Raises:
        DataError: not a picture, not of that size, in colour, or nothing or everything in it is missing.
    """
    mask = np.asarray(read_picture(path, size=size, channels=1, resize=resize, over_white=True)[0] >= _WHITE)
    return _need_both(mask, os.fspath(path))


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Parse `top,left,height,width`, in pixels.

    Raises:
        UsageError: something else.

    Examples:
        >>> parse_box("4,4,8,6")
        (4, 4, 8, 6)
    """
    parts = [part.strip() for part in text.split(",")]
    # Nine digits are more than enough, and far longer ones Python itself refuses.
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts):
        raise UsageError(f"the box is {text[:32]!r}; give top,left,height,width in pixels, such as 4,4,8,8")
    top, left, height, width = map(int, parts)
    return top, left, height, width


def box_mask(boxes: Sequence[tuple[int, int, int, int]], *, size: tuple[int, int]) -> Mask:
    """Make a mask of boxes.

    Args:
        boxes: (top, left, height, width) each, in pixels, at least one.
        size: (height, width) of the image.

    Returns:
        bool [H, W], True inside the boxes.

    Raises:
        UsageError: a box that is empty or not inside the image.
        DataError: nothing of the image is left.

    Examples:
        >>> box_mask([(0, 1, 2, 2)], size=(3, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    mask = np.zeros(size, bool)
    for top, left, height, width in boxes:
        if height < 1 or width < 1 or min(top, left) < 0 or top + height > size[0] or left + width > size[1]:
            raise UsageError(
                f"the box {top},{left},{height},{width} (top, left, height, width) does not lie inside an image of "
                f"{size[0]}x{size[1]} (height x width)"
            )
        mask[top : top + height, left : left + width] = True
    return _need_both(mask, "the box")


def fitted_boxes(
    boxes: Sequence[tuple[int, int, int, int]], *, held: tuple[int, int], size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Turn boxes in the pixels of a file into those of the picture that `read_picture` fits to `size`.

    It crops the centre to the aspect ratio of `size` and resamples. Every pixel that a box touches is in the result.

    Args:
        boxes: (top, left, height, width) each, in pixels of the file.
        held: (height, width) of the file, turned upright.
        size: (height, width) that it is fitted to.

    Raises:
        UsageError: a box that is empty, not inside the file, or in what is cropped away.

    Examples:
        >>> fitted_boxes([(0, 4, 2, 3)], held=(8, 16), size=(4, 4))
        [(0, 0, 1, 2)]
    """
    box_mask(boxes, size=held)
    kept = min(held[0] / size[0], held[1] / size[1])  # pixels of the file in one of the result, both ways
    found = []
    for box in boxes:
        ends = []
        for start, length, whole, wanted in zip(box[:2], box[2:], held, size, strict=True):
            cropped = (whole - wanted * kept) / 2
            first = max(0, math.floor((start - cropped) / kept + _TOUCH))
            ends.append((first, min(wanted, math.ceil((start + length - cropped) / kept - _TOUCH)) - first))
        (top, height), (left, width) = ends
        if height < 1 or width < 1:
            raise UsageError(
                f"the box {','.join(map(str, box))} lies in what is cropped away when {held[0]}x{held[1]} pixels are "
                f"fitted to {size[0]}x{size[1]} (height x width)"
            )
        found.append((top, left, height, width))
    return found


def _need_both(mask: Mask, source: str) -> Mask:
    if not mask.any():
        raise DataError(f"{source} marks nothing as missing; white is missing, black is known")
    if mask.all():
        raise DataError(f"{source} marks every pixel as missing; `glow-deploy sample` draws whole images")
    return mask
