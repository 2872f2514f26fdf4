"""A folder of IDX files, as MNIST and its successors are published (Y. LeCun's format), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

from .arrays import array_images
from .fit import Fit
from .image_set import ImageSet
from .opened import Part

__all__ = ["idx_parts", "is_idx_folder"]

_UNSIGNED_BYTE = 8
_LIMIT = 1 << 31  # bytes of one array
_SMALL = 128 << 20  # bytes, whatever they were packed to
_MOST_RATIO = 32  # times the size of the file: digits shrink fivefold, and zeros a thousandfold


def is_idx_folder(folder: Path) -> bool:
    """Tell whether a folder holds IDX images."""
    return any(_find(folder, part, "images-idx3") is not None for part in ("train", "t10k"))


def idx_parts(folder: Path, *, fit: Fit) -> dict[Part, Callable[[], ImageSet]]:
    """Return the parts of such a folder: the t10k files are for testing, the train files for the rest."""
    return {"train": partial(_part, folder, "train", fit), "test": partial(_part, folder, "t10k", fit)}


def _part(folder: Path, part: str, fit: Fit) -> ImageSet:
    path = _find(folder, part, "images-idx3")
    if path is None:
        raise DataError(f"{folder} has no {part}-images-idx3-ubyte file, which this split is read from")
    labels_path = _find(folder, part, "labels-idx1")
    labels = None if labels_path is None else _read(labels_path, dimensions=1).astype(np.int64)
    return array_images(_read(path, dimensions=3), fit=fit, description=str(path), labels=labels)


def _find(folder: Path, part: str, kind: str) -> Path | None:
    # The last dot is written as a hyphen by some publishers.
    for name in (f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-idx', '.idx')}-ubyte"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _read(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Two zero bytes, the type, the number of dimensions, their sizes (big endian), then the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
                raise DataError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if size > min(_LIMIT, max(_SMALL, _MOST_RATIO * path.stat().st_size)):
                raise DataError(f"{path} claims {size} values, which is more than can be read from a file of its size")
            data = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())})") from error
    if len(data) != size:
        raise DataError(f"{path} is cut short or too long: {list(shape)} asks for {size} values")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
