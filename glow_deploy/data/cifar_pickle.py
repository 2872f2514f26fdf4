"""CIFAR's pickled batches, read without running anything that they name.

A pickle calls what it names. Here it gets stand-ins for the two things that a batch names, an array and its dtype; they
do nothing but keep what they are given. Every other name ends the reading.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from glow_deploy.errors import DataError

__all__ = ["read_batch"]

_BYTE_TYPES = ("u1", "uint8", b"u1", b"uint8")


class _Type:
    """Stands in for a dtype; keeps its name."""

    __slots__ = ("name",)

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like: one byte has none."""


class _Array:
    """Stands in for an array; keeps its shape, its type and its bytes."""

    __slots__ = ("state",)

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Encode:
    """Stands in for `codecs.encode`, as which Python 3 pickles bytes for Python 2."""

    __slots__ = ("content",)

    def __init__(self, text: Any = "", *_: Any) -> None:
        self.content = text.encode("latin-1") if isinstance(text, str) else b""


class _Reader(pickle.Unpickler):
    """Knows the names that such a file holds, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Type}
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in known:
            return known[name]
        if (module, name) == ("_codecs", "encode"):
            return _Encode
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of a CIFAR batch"[:200])

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside the file")


def read_batch(content: bytes, *, name: str) -> dict[str, Any]:
    """Read one pickled batch: arrays of bytes, texts, whole numbers, lists and dictionaries of them.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        DataError: it is damaged, or names anything else.
    """
    try:
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
        if type(found) is not dict:
            raise pickle.UnpicklingError("it holds no dictionary")
        return {_text(key): _plain(value) for key, value in found.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{name} is no CIFAR batch that is read ({reason}); nothing in it was run, and the binary version of "
            "the set needs no pickles"
        ) from error


def _plain(value: Any) -> Any:
    if type(value) is _Array:
        return _array(value.state)
    if type(value) is list:
        return [_text(item) if isinstance(item, (bytes, str)) else item for item in value]
    return _text(value) if isinstance(value, (bytes, str)) else None


def _array(state: Any) -> np.ndarray:
    _, shape, kind, fortran, data = state
    data = data.content if type(data) is _Encode else data
    if (
        type(data) is not bytes
        or type(kind) is not _Type
        or kind.name not in _BYTE_TYPES
        or fortran not in (False, True)
    ):
        raise pickle.UnpicklingError("an array does not hold bytes")
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise pickle.UnpicklingError("an array has no shape")
    if math.prod(shape) != len(data):
        raise pickle.UnpicklingError("an array is cut short")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran is True else "C")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
