"""Pictures as people drop them on the page: from anywhere, of any size, and not to be trusted."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import read_picture

__all__ = ["FORMATS", "clean_name", "read_upload"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_LONGEST_NAME = 100


def read_upload(
    data: bytes, *, name: str, size: tuple[int, int], channels: int, max_pixels: int
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Read a dropped picture as the model needs it; what does not fit is made to, and said.

    Args:
        data: of the file.
        name: what messages call it.
        size: (height, width) that the model needs.
        channels: 1 or 3, as the model needs.
        max_pixels: width x height that is decoded at most.

    Returns:
        8-bit values, uint8 [C, H, W], and what was done to the picture, one sentence each.

    Raises:
        DataError: not a picture of a kind in `FORMATS`, damaged, or too large.
    """
    claimed = _check_header(data, name=name, max_pixels=max_pixels)
    if size in (claimed, claimed[::-1]):  # its EXIF orientation may turn it
        try:
            return read_picture(data, size=size, channels=channels, name=name), ()
        except DataError:
            pass
    whole = read_picture(data, over_white=True, name=name)
    height, width = whole.shape[1:]
    notes = []
    if _is_transparent(data):
        notes.append("transparent in places, laid over white")
    if (height, width) != size:
        cropped = height * size[1] != width * size[0]
        notes.append(
            f"{width}x{height} pixels{', cropped in the middle and' if cropped else ','} resampled to "
            f"{size[1]}x{size[0]}, which the model takes"
        )
    if channels == 1 and len(whole) == 3:
        notes.append("in colour, turned grey, which the model takes")
    return read_picture(data, size=size, channels=channels, resize=True, name=name), tuple(notes)


def _is_transparent(data: bytes) -> bool:
    """Tell what alone can be wrong with a picture that is readable with transparency laid over white."""
    try:
        read_picture(data)
    except DataError:
        return True
    return False


def clean_name(name: str) -> str:
    """Make a name that a browser sent fit to be shown: no folders, no control characters, not too long."""
    base = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in base if character.isprintable()).strip()[:_LONGEST_NAME]
    return kept or "picture"


def _check_header(data: bytes, *, name: str, max_pixels: int) -> tuple[int, int]:
    """Look at the kind and the size that the file claims, before anything is decoded; returns (height, width)."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise DataError(f"{name} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit below says it in words
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture that can be read here (PNG, JPEG, WebP, BMP, GIF)") from None
    except Image.DecompressionBombError:
        width, height = max_pixels + 1, 1
    except Exception as error:  # Pillow's readers raise almost anything on damaged files
        raise DataError(f"{name} is damaged or cut short") from error
    if width * height > max_pixels:
        raise DataError(f"{name} has more than {max_pixels / 1e6:g} million pixels; make it smaller first")
    return height, width
