"""Images as users have them, made into what a model reads: uint8 [N, C, H, W]."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_path
from glow_deploy.errors import DataError
from glow_deploy.images import pixels_to_values, read_picture, x_to_pixels

from .pictures import Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Images", "take_images"]

_CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV")  # what PNG has not, and RGB takes without asking

OneImage: TypeAlias = Union[str, Path, "Image", npt.NDArray[np.generic]]
Images: TypeAlias = OneImage | Sequence[OneImage] | Pictures
"""A picture file, a PIL image, an array, or several of them; or the `Pictures` that a model gave.

A picture that is transparent in places is refused unless it may be resized, which lays it over white; an opaque alpha
channel is dropped, and grey becomes colour for a colour model, since neither changes a value. Arrays are never resized.

Arrays of uint8 hold 0..255: [H, W], [H, W, C] or [C, H, W] for one image, with N in front for several; C is 1 or 3.
Arrays of floats hold x in [0, 1), [C, H, W] or [N, C, H, W]: each value is taken as the n-bit pixel it lies in.
"""


def take_images(
    images: Images, *, shape: tuple[int, int, int], n_bits: int, resize: bool = False
) -> npt.NDArray[np.uint8]:
    """Make images of any kind into 8-bit picture values.

    Args:
        images: see `Images`.
        shape: (C, H, W) of the model.
        n_bits: depth of the model's pixels, for arrays of floats.
        resize: crop and resample files and PIL images of another size, and change their mode. An array that does not
            fit is refused all the same: where its channels and its rows are would be a guess.

    Returns:
        uint8 [N, C, H, W], N >= 1.

    Raises:
        DataError: not images, or not of the model's size.
    """
    if isinstance(images, Pictures):
        images = images.pixels
    if isinstance(images, np.ndarray):
        return _from_array(images, shape=shape, n_bits=n_bits, resize=resize)
    many = list(images) if isinstance(images, Iterable) and not _is_picture(images) else [images]
    if not many:
        raise DataError("there are no images")
    parts = [_one(item, shape=shape, n_bits=n_bits, resize=resize) for item in many]
    return np.concatenate(parts)


def _is_picture(item: object) -> bool:
    return isinstance(item, (str, os.PathLike)) or hasattr(item, "convert")


def _one(item: Any, *, shape: tuple[int, int, int], n_bits: int, resize: bool) -> npt.NDArray[np.uint8]:
    if isinstance(item, np.ndarray):
        return _from_array(item, shape=shape, n_bits=n_bits, resize=resize)
    channels, height, width = shape
    if isinstance(item, (str, os.PathLike)):
        return read_picture(as_path("images", item), size=(height, width), channels=channels, resize=resize)[None]
    if hasattr(item, "convert"):
        data = _png(item)
        return read_picture(data, size=(height, width), channels=channels, resize=resize, name="a PIL image")[None]
    if isinstance(item, Pictures):
        return _from_array(item.pixels, shape=shape, n_bits=n_bits, resize=False)
    raise DataError(f"{type(item).__name__} is no image; give a file name, a PIL image or a NumPy array")


def _png(image: Image) -> bytes:
    """The bytes of a PIL image, so that it is read with the same checks as a file."""
    import io

    if image.mode in _CONVERTED:
        image = image.convert("RGB")
    buffer = io.BytesIO()
    try:
        image.save(buffer, "PNG")
    except (OSError, ValueError, SystemError) as error:  # a mode that PNG has not, a closed file, no pixels at all
        raise DataError(f"a PIL image of mode {image.mode} cannot be read ({error}); convert it to RGB or L") from None
    return buffer.getvalue()


def _from_array(
    array: npt.NDArray[Any], *, shape: tuple[int, int, int], n_bits: int, resize: bool
) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    also = "; resize=True is for files and PIL images: PIL.Image.fromarray makes one of an array" if resize else ""
    first = f"[{channels},{height},{width}]"
    if array.dtype == np.uint8:
        found = _channels_first(array, shape=shape)
        if found is None:
            last = f"[{height},{width},{channels}]" + (f" or [{height},{width}]" if channels == 1 else "")
            shapes = f"{first} or {last}{also}"
            raise DataError(f"an array of {list(array.shape)} holds no images of this model; give {shapes}")
        return found
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"an array of {array.dtype} holds no images; give uint8 in 0..255, or floats in [0, 1)")
    if array.shape[-3:] != shape or array.ndim not in (3, 4):
        raise DataError(f"an array of floats of {list(array.shape)} holds no images of this model; give {first}{also}")
    x = array.reshape(-1, *shape)
    if len(x) == 0 or not np.isfinite(x).all() or x.min() < 0.0 or x.max() >= 1.0:
        raise DataError("an array of floats holds x in [0, 1); divide 8-bit pictures by 256, or give them as uint8")
    return pixels_to_values(x_to_pixels(x, n_bits), n_bits)


def _channels_first(array: npt.NDArray[np.uint8], *, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
    """uint8 [N, C, H, W], from whichever order fits; None where none does."""
    channels, height, width = shape
    last = (height, width, channels)
    fits_first = array.ndim in (3, 4) and array.shape[-3:] == shape
    fits_last = array.ndim in (3, 4) and array.shape[-3:] == last
    fits_grey = channels == 1 and array.ndim in (2, 3) and array.shape[-2:] == (height, width)
    found: npt.NDArray[np.uint8]
    if fits_first:  # the model's own order goes before the others, where a size fits several
        found = array.reshape(-1, *shape)
    elif fits_last:
        found = array.reshape(-1, *last).transpose(0, 3, 1, 2)
    elif fits_grey:
        found = array.reshape(-1, 1, height, width)
    else:
        return None
    return np.ascontiguousarray(found) if len(found) else None
