"""Image arrays as files hold them, brought to what a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes, read_picture

from .fit import Fit
from .image_set import ImageSet, Indices, Values
from .reading import FLOAT_RANGES, FloatRange, Reading

__all__ = ["array_images", "depth_note"]

_CHUNK = 16 << 20  # values looked at together
_SLACK = 1e-3  # of the range that a float may lie outside it


def array_images(
    array: npt.NDArray[np.generic],
    *,
    fit: Fit,
    description: str,
    reading: Reading | None = None,
    labels: npt.NDArray[np.int64] | None = None,
    class_names: tuple[str, ...] = (),
    attributes: npt.NDArray[np.bool_] | None = None,
    attribute_names: tuple[str, ...] = (),
) -> ImageSet:
    """Wrap images in memory, or mapped into it: nothing is copied before it is asked for.

    Args:
        array: [N,H,W,C] with C of 1 or 3, or [N,H,W]: uint8; uint16; or floats with `reading.float_range`.
        fit: what the model takes.
        description: where they come from, for messages.
        reading: how to take the array.
        labels: [N].
        class_names: of class 0, 1, ...
        attributes: [N,K].
        attribute_names: K names.

    Raises:
        DataError: another dtype or shape, values out of range, or images that do not fit.
    """
    reading = reading or Reading()
    stored = _channels_last(array, description, reading)
    scale, notes = _scale(stored, description, reading)
    held = (stored.shape[3], stored.shape[1], stored.shape[2])
    shape = fit.shape_for(held, name=description)
    return ImageSet(
        description=description,
        shape=shape,
        count=len(stored),
        read=_Reader(stored=stored, scale=scale, shape=shape, resize=fit.resize, description=description),
        labels=labels,
        class_names=class_names,
        attributes=attributes,
        attribute_names=attribute_names,
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """How stored values become 8-bit ones.

    Attributes:
        shift: bits that whole numbers lose.
        floats: range of floats; None for whole numbers.
    """

    shift: int = 0
    floats: FloatRange | None = None

    def values(self, stored: npt.NDArray[np.generic]) -> Values:
        if self.floats is None:
            whole = stored.astype(np.uint16, copy=False) >> self.shift if self.shift else stored
            return whole.astype(np.uint8, copy=False)
        low, high = FLOAT_RANGES[self.floats]
        unit = (stored.astype(np.float64) - low) / (high - low)
        return np.rint(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reader:
    stored: npt.NDArray[np.generic]
    scale: _Scale
    shape: tuple[int, int, int]
    resize: bool
    description: str

    def __call__(self, indices: Indices) -> Values:
        values = np.ascontiguousarray(self.scale.values(self.stored[indices]).transpose(0, 3, 1, 2))
        if values.shape[1:] == self.shape:
            return values
        converted = [
            # Through the picture reader, so that a set in memory and a folder of pictures are resampled alike.
            read_picture(
                png_bytes(value),
                size=self.shape[1:],
                channels=self.shape[0],
                resize=self.resize,
                name=f"{self.description}, image {index}",
            )
            for index, value in zip(indices, values, strict=True)
        ]
        return np.stack(converted) if converted else np.empty((0, *self.shape), np.uint8)


def _channels_last(array: npt.NDArray[np.generic], description: str, reading: Reading) -> npt.NDArray[np.generic]:
    """[N,H,W,C] of what is given in the layout that is told."""
    shape = list(array.shape)
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and reading.layout == "nchw":
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[3] in (1, 3) and 0 not in array.shape[1:]:
        return array
    remedy = ""
    if array.ndim == 4 and reading.layout is None and array.shape[1] in (1, 3):
        remedy = '; it may be [N,C,H,W], so pass layout="nchw"'
    elif array.ndim == 4 and reading.layout == "nchw" and shape[3] in (1, 3):
        remedy = '; it may be [N,H,W,C], so pass layout="nhwc"'
    wanted = "[N,C,H,W]" if reading.layout == "nchw" else "[N,H,W,C]"
    raise DataError(
        f"{description}: images have the shape {shape}; {wanted} with C of 1 or 3, or [N,H,W], is needed{remedy}"
    )


def _scale(stored: npt.NDArray[np.generic], description: str, reading: Reading) -> tuple[_Scale, tuple[str, ...]]:
    kind = stored.dtype
    if kind == np.uint8:
        return _Scale(), ()
    if kind.kind not in "uf" or (kind.kind == "u" and kind.itemsize != 2):
        raise DataError(
            f"{description}: images are {kind}; uint8 values 0..255, uint16 values, or floats with float_range= are "
            "needed"
        )
    low, high = _extremes(stored)
    if kind.kind == "u":
        depth = reading.depth or 16
        if high >= 1 << depth:
            raise DataError(f"{description}: a value is {high:g}, which {depth} bits cannot hold; pass another depth=")
        return _Scale(shift=depth - 8), depth_note(int(high), description, reading)
    if not np.isfinite([low, high]).all():
        raise DataError(f"{description}: images hold values that are not finite")
    if reading.float_range is None:
        likely = next((name for name, ends in FLOAT_RANGES.items() if _within(low, high, ends)), None)
        remedy = "; pass float_range=" if likely is None else f', such as "{likely}"; pass float_range="{likely}"'
        raise DataError(f"{description}: images are {kind} from {low:g} to {high:g}; say what they run over{remedy}")
    ends = FLOAT_RANGES[reading.float_range]
    if not _within(low, high, ends):
        raise DataError(
            f"{description}: images run from {low:g} to {high:g}, outside the range {reading.float_range} "
            f"({ends[0]:g} to {ends[1]:g}); pass another float_range="
        )
    return _Scale(floats=reading.float_range), ()


def depth_note(highest: int, description: str, reading: Reading) -> tuple[str, ...]:
    """Say that values of 16 bits look as if they had fewer; nothing where the depth was told."""
    bits = max(9, highest.bit_length())
    if reading.depth is not None or bits > 14:
        return ()
    bits = next(depth for depth in (10, 12, 14) if bits <= depth)
    return (
        f"{description}: the largest of the 16-bit values is {highest:,}, so they may have {bits} bits; they are taken "
        f"as 16 and are dark, unless you pass depth={bits}",
    )


def _within(low: float, high: float, ends: tuple[float, float]) -> bool:
    slack = _SLACK * (ends[1] - ends[0])
    return ends[0] - slack <= low and high <= ends[1] + slack


def _extremes(stored: npt.NDArray[np.generic]) -> tuple[float, float]:
    """The lowest and the highest value, NaN where one is not finite; piece by piece, so that little is in memory."""
    low, high = np.inf, -np.inf
    for part in _pieces(stored):
        low, high = np.minimum(low, part.min()), np.maximum(high, part.max())
    return float(low), float(high)


def _pieces(stored: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
    rows = max(1, _CHUNK // max(1, stored[:1].size))
    for first in range(0, len(stored), rows):
        yield stored[first : first + rows]
