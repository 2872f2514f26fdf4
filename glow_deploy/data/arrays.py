"""Image arrays as files hold them, brought to what a model takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes, read_picture

from .fit import Fit
from .image_set import ImageSet, Indices, Values

__all__ = ["array_images"]


def array_images(
    array: npt.NDArray[np.generic],
    *,
    fit: Fit,
    description: str,
    labels: npt.NDArray[np.int64] | None = None,
    class_names: tuple[str, ...] = (),
    attributes: npt.NDArray[np.bool_] | None = None,
    attribute_names: tuple[str, ...] = (),
) -> ImageSet:
    """Wrap images in memory.

    Args:
        array: uint8 [N,H,W,C] with C of 1 or 3, or [N,H,W].
        fit: what the model takes.
        description: where they come from, for messages.
        labels: [N].
        class_names: of class 0, 1, ...
        attributes: [N,K].
        attribute_names: K names.

    Raises:
        DataError: another dtype or shape, or images that do not fit.
    """
    if array.dtype != np.uint8:
        raise DataError(f"{description}: images are {array.dtype}; uint8 values 0..255 are needed")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise DataError(f"{description}: images have the shape {list(array.shape)}; [N,H,W,C] or [N,H,W] is needed")
    stored: Values = array.astype(np.uint8, copy=False)
    held = (stored.shape[3], stored.shape[1], stored.shape[2])
    shape = fit.shape_for(held, name=description)
    convert = shape != held

    def read(indices: Indices) -> Values:
        values = np.ascontiguousarray(stored[indices].transpose(0, 3, 1, 2))
        if not convert:
            return values
        converted = [
            # Through the picture reader, so that a set in memory and a folder of pictures are resampled alike.
            read_picture(
                png_bytes(value),
                size=shape[1:],
                channels=shape[0],
                resize=fit.resize,
                name=f"{description}, image {index}",
            )
            for index, value in zip(indices, values, strict=True)
        ]
        return np.stack(converted)

    return ImageSet(
        description=description,
        shape=shape,
        count=len(stored),
        read=read,
        labels=labels,
        class_names=class_names,
        attributes=attributes,
        attribute_names=attribute_names,
    )
