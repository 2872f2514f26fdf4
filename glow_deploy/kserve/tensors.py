"""Tensors on their way: the JSON of the Open Inference Protocol, and its extension that sends them as bytes.

https://github.com/kserve/open-inference-protocol, and Triton's "Binary Tensor Data Extension". What comes in is not
trusted: names, shapes, sizes and numbers are checked before an array is made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from glow_deploy.errors import DataError

__all__ = ["HEADER", "MOST_TENSORS", "Packed", "datatype_of", "numpy_type", "pack", "unpack"]

HEADER = "Inference-Header-Content-Length"
"""HTTP header that says where the JSON ends and the bytes begin."""

MOST_TENSORS = 64

_NUMPY: Mapping[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
_DATATYPE = {name: datatype for datatype, name in _NUMPY.items()}
_MOST_DIMS = 8
_MOST_VALUES = 1 << 40  # of one tensor
_LONGEST_NAME = 200
_LONGEST_ID = 1000

Side = Literal["inputs", "outputs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """A request or an answer.

    Attributes:
        tensors: by name.
        parameters: of the whole, as they came.
        id: of the request, to be given back.
        wanted: of a request: names of the outputs asked for; empty for all of them.
        binary: of a request: whether each output, or by the empty name all others, is wanted as bytes.
    """

    tensors: dict[str, np.ndarray]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    wanted: tuple[str, ...] = ()
    binary: Mapping[str, bool] = field(default_factory=dict)

    def as_bytes(self, name: str) -> bool:
        """Tell whether an output is wanted as bytes."""
        return self.binary.get(name, self.binary.get("", False))


def datatype_of(dtype: str | np.dtype[Any]) -> str:
    """What the protocol calls a NumPy type.

    Examples:
        >>> datatype_of("float32"), datatype_of(np.dtype("int64"))
        ('FP32', 'INT64')
    """
    return _DATATYPE[np.dtype(dtype).name]


def numpy_type(datatype: Any) -> np.dtype[Any]:
    """The NumPy type of a protocol's name for one.

    Raises:
        DataError: there is no such type here.
    """
    if not isinstance(datatype, str) or datatype not in _NUMPY:
        raise DataError(f"datatype {str(datatype)[:40]!r} is not one of {', '.join(_NUMPY)}")
    return np.dtype(_NUMPY[datatype]).newbyteorder("<")


def pack(
    tensors: Mapping[str, np.ndarray],
    *,
    side: Side,
    binary: Mapping[str, bool] | bool = True,
    **others: Any,
) -> tuple[bytes, int | None]:
    """Write a request or an answer.

    Args:
        tensors: by name.
        side: which the tensors are.
        binary: send them as bytes behind the JSON, all alike or by name.
        **others: entries of the JSON besides the tensors.

    Returns:
        The body, and how much of it is JSON where bytes follow, else None.

    Raises:
        DataError: a number that JSON has no word for is to be sent in JSON.
    """
    entries, tail = [], []
    for name, array in tensors.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype)}
        if binary if isinstance(binary, bool) else binary.get(name, False):
            data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{name} holds NaN or infinity, which JSON cannot carry: ask for it as binary data")
            entry["data"] = array.reshape(-1).tolist()
        entries.append(entry)
    head = json.dumps({**others, side: entries}, allow_nan=False).encode()
    return b"".join((head, *tail)), len(head) if tail else None


def unpack(body: bytes, length: int | None, *, side: Side) -> Packed:
    """Read a request or an answer.

    Args:
        body: all of it.
        length: of the JSON at its begin, as the HTTP header `HEADER` says; None where all is JSON.
        side: which tensors it holds.

    Raises:
        DataError: it is not what the protocol says, or it holds more or fewer bytes than it says.
    """
    if length is not None and not 0 < length <= len(body):
        raise DataError(f"{HEADER} says {length}, the body has {len(body)} bytes")
    try:
        content = json.loads(body if length is None else body[:length])
    except (ValueError, RecursionError):
        raise DataError("the body must begin with a JSON object") from None
    if not isinstance(content, dict):
        raise DataError("the body must begin with a JSON object")
    tail = memoryview(body)[length:] if length is not None else memoryview(b"")
    tensors: dict[str, np.ndarray] = {}
    for entry in _list(content, side):
        name = _name(entry)
        if name in tensors:
            raise DataError(f"{side}: {name} is there twice")
        tensors[name], used = _tensor(entry, name, tail)
        tail = tail[used:]
    if len(tail):
        raise DataError(f"{len(tail)} bytes more than the {side} say")
    parameters = _parameters(content)
    wanted, binary = [], {"": parameters.get("binary_data_output") is True}
    for entry in _list(content, "outputs") if side == "inputs" and content.get("outputs") is not None else ():
        name = _name(entry)
        wanted.append(name)
        if "binary_data" in _parameters(entry):
            binary[name] = _parameters(entry)["binary_data"] is True
    return Packed(
        tensors=tensors,
        parameters=parameters,
        id=_id(content.get("id")),
        wanted=tuple(wanted),
        binary=binary,
    )


def _list(content: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = content.get(key)
    if not isinstance(found, list) or len(found) > MOST_TENSORS:
        raise DataError(f"{key} must be a list of at most {MOST_TENSORS} tensors")
    return found


def _name(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise DataError("a tensor has no name")
    return name


def _id(found: Any) -> str:
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _LONGEST_ID:
        raise DataError(f"the id must be a string of at most {_LONGEST_ID} letters")
    return found


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DataError("parameters must be a JSON object")
    return found


def _tensor(entry: Mapping[str, Any], name: str, tail: memoryview) -> tuple[np.ndarray, int]:
    """An array, and how many bytes of `tail` are its."""
    dtype = numpy_type(entry.get("datatype"))
    shape = entry.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > _MOST_DIMS
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
        or math.prod(filter(None, shape)) > _MOST_VALUES  # NumPy makes no array of such sizes, though one of them is 0
    ):
        raise DataError(f"{name}: the shape must be a list of at most {_MOST_DIMS} whole numbers, of a size to hold")
    count = math.prod(shape)
    size = _parameters(entry).get("binary_data_size")
    if size is not None:
        if type(size) is not int or size != count * dtype.itemsize or size > len(tail):
            raise DataError(
                f"{name}: {shape} of {entry['datatype']} are {count * dtype.itemsize} bytes, binary_data_size says "
                f"{str(size)[:20]} and {len(tail)} are there"
            )
        array = np.frombuffer(tail[:size], dtype).reshape(shape)
        return array.astype(dtype.newbyteorder("=")), size
    return _from_json(entry.get("data"), name, dtype, shape, count), 0


def _from_json(data: Any, name: str, dtype: np.dtype[Any], shape: list[int], count: int) -> np.ndarray:
    """An array of a list, whose items are looked at before NumPy is: it would make room for whatever it finds."""
    values = _flat(data, name, count)
    if len(values) != count:
        raise DataError(f"{name}: {shape} are {count} numbers, data has {len(values)}")
    kinds: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
    if not set(map(type, values)) <= kinds[dtype.kind]:
        raise DataError(f"{name}: data must be {dtype.name}")
    if dtype.kind in "iu" and values:
        ends = np.iinfo(dtype)
        if min(values) < ends.min or max(values) > ends.max:
            raise DataError(f"{name}: a number does not fit {dtype.name}")
    native = dtype.newbyteorder("=")
    try:
        found = np.array(values, np.float64 if dtype.kind == "f" else native)
    except OverflowError:  # a whole number beyond float64
        raise DataError(f"{name}: a number does not fit {dtype.name}") from None
    with np.errstate(over="ignore"):
        return found.reshape(shape).astype(native, copy=False)


def _flat(data: Any, name: str, count: int) -> list[Any]:
    """The items of a list, or of lists in it that are alike."""
    if not isinstance(data, list):
        raise DataError(f"{name}: data must be a list of {count} numbers")
    values = data
    for _ in range(_MOST_DIMS):
        if not values or not isinstance(values[0], list):
            return values
        sizes = {len(value) if isinstance(value, list) else -1 for value in values}
        if len(sizes) > 1 or len(values) * len(values[0]) > count:
            raise DataError(f"{name}: data must be a list of {count} numbers")
        values = [item for value in values for item in value]
    return values
