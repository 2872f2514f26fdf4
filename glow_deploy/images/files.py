"""Picture files: reading any common kind as a model needs it, and writing PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.files import check_regular
from glow_deploy.errors import DataError
from glow_deploy.printable import one_line

from .quiet import pillow_quiet

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FORMATS",
    "GREY_MODES",
    "PICTURE_SUFFIXES",
    "SIXTEEN_BIT",
    "highest_value",
    "png_bytes",
    "read_picture",
    "write_png",
]

PICTURE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".bmp",
        ".gif",
        ".webp",
        ".avif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    }
)
# Formats that Pillow decodes itself. EPS is left out on purpose: Pillow hands it to Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "AVIF", "TIFF", "PPM")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA", "La")
_BAND = 256  # rows


def read_picture(
    source: str | os.PathLike[str] | bytes,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: bool = False,
    over_white: bool = False,
    name: str | None = None,
    depth: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Read one picture as 8-bit values.

    What is converted without asking, because nothing is lost or everyone expects it: the EXIF orientation is applied;
    palettes, CMYK and the like become RGB; 16-bit values keep their eight highest bits; an alpha channel that is opaque
    throughout is dropped; the first frame of an animation is taken; grey becomes RGB for an RGB model; and RGB whose
    three channels are equal becomes grey for a grey model. What would change the picture needs `resize`.

    Args:
        source: a file name, or the bytes of a file.
        size: (height, width) that the model needs; None takes the picture as it is.
        channels: 1 or 3, as the model needs; None takes 1 for grey pictures, 3 for all others.
        resize: crop the centre to the aspect ratio of `size` and resample to it (Lanczos), turn a coloured picture grey
            (ITU-R 601 luma) for a grey model, and lay a picture that is transparent anywhere over white.
        over_white: do the last of these alone.
        name: what messages call the picture; None takes the file name.
        depth: bits of the values in 16-bit files, 9 to 16; None takes 16.

    Returns:
        uint8 [C, H, W], 0..255.

    Raises:
        DataError: the file is missing, not a picture, damaged, too large to be decoded safely, or does not fit.
    """
    if name is None:
        name = "picture" if isinstance(source, bytes) else os.fspath(source)
    if not isinstance(source, bytes):
        check_regular(Path(source), error=DataError)
    image = _flatten(_open(source, name), name, over_white=resize or over_white, depth=depth or 16)
    if channels == 1 and image.mode == "RGB":
        image = _to_grey(image, name, convert=resize)
    elif channels == 3 and image.mode == "L":
        image = image.convert("RGB")
    if size is not None and (image.height, image.width) != size:
        if not resize:
            raise DataError(
                f"{name} is {image.width}x{image.height} pixels, the model takes {size[1]}x{size[0]} (width x "
                "height); pass resize=True to crop and resample it"
            )
        from PIL import Image, ImageOps

        image = ImageOps.fit(image, (size[1], size[0]), method=Image.Resampling.LANCZOS)
    array = np.array(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def highest_value(source: str | os.PathLike[str] | bytes, *, name: str) -> int:
    """Return the largest value in a picture of 16 bits a channel.

    Raises:
        DataError: it cannot be read.
    """
    return int(np.asarray(_open(source, name)).max())


def png_bytes(values: npt.NDArray[np.uint8]) -> bytes:
    """One picture, uint8 [C, H, W] with C = 1 or 3 or [H, W], as the bytes of a PNG file.

    Raises:
        DataError: the array is something else.
    """
    from PIL import Image

    if values.dtype != np.uint8 or values.ndim not in (2, 3) or 0 in values.shape:
        raise DataError(f"a PNG needs uint8 [C,H,W], not {values.dtype} {values.shape}")
    if values.ndim == 2:
        values = values[None]
    if values.shape[0] not in (1, 3):
        raise DataError(f"a PNG needs 1 or 3 channels, not {values.shape[0]}")
    plane = values[0] if values.shape[0] == 1 else values.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(stream, format="PNG")
    return stream.getvalue()


def write_png(path: str | os.PathLike[str], values: npt.NDArray[np.uint8]) -> None:
    """Write one picture, uint8 [C, H, W] (C = 1 or 3), whole or not at all; an existing file is replaced.

    Raises:
        DataError: the array is not a picture.
    """
    from glow_deploy.artifact.files import atomic_write

    atomic_write(Path(path), png_bytes(values))


def _open(source: str | os.PathLike[str] | bytes, name: str) -> Image.Image:
    """Decode the file whole, so that nothing about it can fail later."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    stream: str | os.PathLike[str] | IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with pillow_quiet(), Image.open(stream, formats=FORMATS) as image:
            image.load()
            if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                raise DataError(f"{name} holds 32-bit values of unknown range; save it with 8 or 16 bits a channel")
            return ImageOps.exif_transpose(image)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder, not a picture") from None
    except PermissionError:
        raise DataError(f"{name}: no permission to read it") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is not a picture that can be read (PNG, JPEG, BMP, GIF, WebP, AVIF, TIFF, PPM)"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise DataError(f"{name} claims more than {limit} million pixels; make it smaller first") from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged files
        reason = one_line(error, longest=300) or type(error).__name__
        raise DataError(f"{name} is damaged or cut short: {reason}") from error


def _flatten(image: Image.Image, name: str, *, over_white: bool, depth: int) -> Image.Image:
    """Any mode to `L` or `RGB`, transparency laid over white where that is allowed."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in SIXTEEN_BIT or image.mode == "I":  # `I`: 16-bit PNG and PGM files, in some Pillow releases
        return _high_bytes(image, depth)
    target = "L" if image.mode in GREY_MODES else "RGB"
    if "transparency" not in image.info and image.mode not in ("RGBA", "LA", "PA", "RGBa", "La"):
        return image.convert(target)
    return _opaque(image, target, name, over_white=over_white)


def _high_bytes(image: Image.Image, depth: int) -> Image.Image:
    from PIL import Image

    values = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        wide = np.asarray(band)
        values[top : top + band.height] = wide.clip(0, (1 << depth) - 1) >> (depth - 8)
    return Image.fromarray(values)


def _opaque(image: Image.Image, target: str, name: str, *, over_white: bool) -> Image.Image:
    from PIL import Image

    flat = Image.new(target, image.size)
    for top, band in _bands(image):
        rgba = band.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            if not over_white:
                raise DataError(
                    f"{name} is transparent in places, and the model takes opaque pictures; pass resize=True to lay it "
                    "over white"
                )
            rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
        flat.paste(rgba.convert("RGB").convert(target), (0, top))
    return flat


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Pieces of a picture from the top down, each with its first row: what is made of them on the way stays small."""
    for top in range(0, image.height, _BAND):
        yield top, image.crop((0, top, image.width, min(top + _BAND, image.height)))


def _to_grey(image: Image.Image, name: str, *, convert: bool) -> Image.Image:
    red, green, blue = image.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        return red
    if not convert:
        raise DataError(f"{name} is in colour, the model takes grey pictures; pass resize=True to convert it")
    return image.convert("L")
