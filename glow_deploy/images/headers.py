"""What the header of a picture file says, without decoding the picture."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from glow_deploy.artifact.files import check_regular
from glow_deploy.errors import DataError

from .files import FORMATS, GREY_MODES, SIXTEEN_BIT, read_picture
from .quiet import pillow_quiet

__all__ = ["Header", "read_header"]

_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True, kw_only=True)
class Header:
    """A picture as `read_picture` will give it.

    Attributes:
        size: (height, width).
        channels: 1 or 3.
        deep: the file holds 16 bits a channel.
    """

    size: tuple[int, int]
    channels: int
    deep: bool = False


def read_header(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Header:
    """Read the header of a picture; a file that is damaged behind it is not noticed.

    Args:
        source: a file name, or the bytes of a file.
        name: what messages call the picture; None takes the file name.

    Raises:
        DataError: the file is missing, not a picture, damaged in its header, or too large to be decoded safely.
    """
    from PIL import Image

    if not isinstance(source, bytes):
        check_regular(Path(source), error=DataError)
    stream: str | os.PathLike[str] | IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with pillow_quiet(), Image.open(stream, formats=FORMATS) as image:
            mode, size = image.mode, (image.height, image.width)
            # The general reader: that of PNG files would decode the picture to look for an orientation behind it.
            # That of TIFF files has turned the size already.
            if image.format != "TIFF" and Image.Image.getexif(image).get(_ORIENTATION) in _ON_THEIR_SIDE:
                size = size[::-1]
            known = mode != "F" and not (mode == "I" and image.format == "TIFF")
    except Exception:  # the one reader has the words for whatever it is
        known = False
    if not known:
        values = read_picture(source, name=name)
        return Header(size=(values.shape[1], values.shape[2]), channels=values.shape[0])
    deep = mode in SIXTEEN_BIT or mode == "I"
    return Header(size=size, channels=1 if deep or mode in GREY_MODES else 3, deep=deep)
