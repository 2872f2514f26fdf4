"""Words beside the rows of a grid, and above its columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

__all__ = ["CAPTION_HEIGHT", "caption_columns", "caption_rows"]

CAPTION_HEIGHT = 20
"""Pixels that captions above columns take."""

_SIZE = 13  # pixels, as tall as the smallest cells of a grid allow
_MARGIN = 8


def caption_rows(picture: npt.NDArray[np.uint8], captions: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Put a caption to the left of each of the rows that share a picture evenly.

    Args:
        picture: uint8 [C, H, W], C = 1 or 3, such as `grid` draws.
        captions: one a row, from the top.

    Returns:
        uint8 [C, H, W + what the longest caption takes], black on white.

    Raises:
        DataError: there are no captions.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not captions:
        raise DataError("captions need at least one row")
    font = ImageFont.load_default(size=_SIZE)
    width = int(max(font.getlength(text) for text in captions)) + 1 + 2 * _MARGIN
    channels, height, _ = picture.shape
    margin = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(margin)
    for row, text in enumerate(captions):
        middle = (row + 0.5) * height / len(captions)
        pen.text((width - _MARGIN, middle), text, fill=0, font=font, anchor="rm")
    words = np.broadcast_to(np.asarray(margin), (channels, height, width))
    return np.concatenate((words, picture), axis=2)


def caption_columns(picture: npt.NDArray[np.uint8], captions: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Put a caption above each of the columns that share a picture evenly.

    Args:
        picture: uint8 [C, H, W], C = 1 or 3, such as `grid` draws.
        captions: one a column, from the left. One that is wider than its column is made smaller.

    Returns:
        uint8 [C, CAPTION_HEIGHT + H, W], black on white.

    Raises:
        DataError: there are no captions.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not captions:
        raise DataError("captions need at least one column")
    channels, _, width = picture.shape
    room = width / len(captions) - 2
    band = Image.new("L", (width, CAPTION_HEIGHT), 255)
    pen = ImageDraw.Draw(band)
    for column, text in enumerate(captions):
        size = _SIZE
        while size > 6 and ImageFont.load_default(size=size).getlength(text) > room:
            size -= 1
        middle = ((column + 0.5) * width / len(captions), CAPTION_HEIGHT / 2)
        pen.text(middle, text, fill=0, font=ImageFont.load_default(size=size), anchor="mm")
    words = np.broadcast_to(np.asarray(band), (channels, CAPTION_HEIGHT, width))
    return np.concatenate((words, picture), axis=1)
