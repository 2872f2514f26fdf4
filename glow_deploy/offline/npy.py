"""Reading .npy files that nobody vouches for: the header first, and then as many bytes as it says."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from glow_deploy.artifact.files import open_regular
from glow_deploy.errors import DataError
from glow_deploy.printable import one_line, shown

__all__ = ["check_floats", "npy_header", "read_npy"]

_FLOATS = (2, 4, 8)  # bytes of a value
_MOST_AXES = 8


def check_floats(name: str, dtype: np.dtype[Any], *, where: Path) -> None:
    """Refuse a tensor of another type than float16, float32 or float64.

    Raises:
        DataError: it is.
    """
    if dtype.kind != "f" or dtype.itemsize not in _FLOATS:
        raise DataError(f"{where}: {name} is {shown(dtype)}; float32 is needed, or float16 or float64")


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a header; the stream is left at the first value.

    Returns:
        The shape, whether values lie in the order of Fortran, and the type.

    Raises:
        ValueError: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array format {version} is not supported")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0:
        raise ValueError(f"{len(shape)} axes")
    return shape, fortran, dtype


def read_npy(file: Path, *, name: str, check: Callable[[tuple[int, ...]], None]) -> np.ndarray:
    """Read an array of floats.

    Args:
        file: the .npy file.
        name: of the tensor, for messages.
        check: refuses a shape, before anything is read.

    Raises:
        DataError: no .npy file, another type, cut short or too long; or what `check` raises.
    """
    with open_regular(file, error=DataError) as stream:
        try:
            shape, fortran, dtype = npy_header(stream)
        except Exception as error:  # NumPy raises a dozen kinds on damaged headers
            raise DataError(f"{file} is no .npy file of numbers ({one_line(error, longest=120)})") from None
        check_floats(name, dtype, where=file)
        check(shape)
        wanted = math.prod(shape) * dtype.itemsize
        there = os.fstat(stream.fileno()).st_size - stream.tell()
        data = stream.read(wanted) if there == wanted else b""
    if len(data) != wanted:
        raise DataError(f"{file} has {there} bytes of values; {wanted} are needed for what its header says")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
