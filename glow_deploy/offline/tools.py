"""The files of NVIDIA's tools: JSON that Polygraphy loads and saves, JSON and raw tensors that trtexec saves.

Formats, as the tools' sources have them: Polygraphy 0.53 (`polygraphy/json/serde.py`, arrays are .npy files in base64),
TensorRT 8 to 10 (`samples/common/sampleReporting.cpp`, `exportJSONOutput`; `sampleInference.cpp`,
`dumpRawBindingToFiles`).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.errors import DataError
from glow_deploy.printable import one_line, shown

from .npy import npy_header

__all__ = ["Saved", "parse_json", "polygraphy_feeds", "raw_name"]

# As C++ prints them, which is no JSON.
_BARE = re.compile(rb"[\[,]\s*[+-]?(?:nan|inf(?:inity)?)\s*[,\]]", re.IGNORECASE)
_RAW = re.compile(r"(?P<name>.+)\.(?P<side>input|output)\.(?P<shape>\d+(?:\.\d+)*)\.(?P<dtype>[A-Za-z0-9]+)\.raw")
_RAW_TYPES = {"fp32": "<f4", "Float": "<f4", "fp16": "<f2", "Half": "<f2"}
_MOST_AXES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """What a file of a tool holds.

    Attributes:
        tool: `Polygraphy` or `trtexec`.
        tensors: by the names that the graph gives them.
    """

    tool: str
    tensors: Mapping[str, np.ndarray]


def polygraphy_feeds(feeds: Mapping[str, np.ndarray], *, batch: int | None = None) -> bytes:
    """What `polygraphy run --load-inputs` reads: a list of feeds, one for each batch.

    Args:
        feeds: tensors [N, ...] by name.
        batch: rows in each; None for all at once.
    """
    count = len(next(iter(feeds.values())))
    step = batch or count
    pieces = [
        {name: {"array": _encoded(array[first : first + step]), "polygraphy_class": "ndarray"}
         for name, array in feeds.items()}
        for first in range(0, count, step)
    ]  # fmt: skip
    return json.dumps(pieces).encode()


def parse_json(data: bytes, *, path: Path) -> Saved:
    """Read what Polygraphy (`--save-outputs FILE.json`) or trtexec (`--exportOutput=FILE.json`) saved.

    Args:
        data: the file; its size has been looked at.
        path: its name, for messages.

    Raises:
        DataError: it is neither, or is damaged.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        if _BARE.search(data):
            raise DataError(
                f"{path} holds nan or inf: the program overflows there, or saved what it had not computed"
            ) from None
        raise DataError(f"{path} is no JSON ({one_line(error, longest=120)}): save it again") from None
    try:
        if isinstance(content, list):
            return Saved(tool="trtexec", tensors=dict(_trtexec(content)))
        return Saved(tool="Polygraphy", tensors=_polygraphy(content))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path} is neither what trtexec (exportOutput) nor what Polygraphy (save-outputs) writes "
            f"({one_line(error, longest=160)})"
        ) from None


def raw_name(path: Path) -> tuple[str, tuple[int, ...], np.dtype[Any] | None, str] | None:
    """What the name of a file says that trtexec --dumpRawBindingsToFile wrote; None for an input's or another file's.

    Returns:
        The tensor's name, its shape, its type (None where that is neither float32 nor float16), and the type's name.
    """
    match = _RAW.fullmatch(path.name)
    if match is None or match["side"] == "input":
        return None
    shape = tuple(int(size[:10]) for size in match["shape"].split("."))
    known = _RAW_TYPES.get(match["dtype"])
    return match["name"], shape, None if known is None else np.dtype(known), match["dtype"]


def _encoded(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _trtexec(content: Sequence[Any]) -> Iterator[tuple[str, np.ndarray]]:
    seen = set()
    for entry in content:
        name = str(entry["name"])
        if name in seen:
            raise ValueError(f"{shown(name)} is there twice")
        seen.add(name)
        # Older releases write 1x3x8x8, newer ones (1, 3, 8, 8).
        shape = tuple(int(size) for size in re.findall(r"\d{1,10}", entry["dimensions"]))
        yield name, _flat(entry["values"], shape, name=name)


def _flat(values: Any, shape: tuple[int, ...], *, name: str) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"the values of {shown(name)} are no list of numbers")
    if len(shape) > _MOST_AXES or len(values) != math.prod(shape):
        raise ValueError(f"{shown(name)} has {len(values)} values, and its dimensions are {list(shape)}")
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float64).astype(np.float32).reshape(shape)


def _polygraphy(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    runners = content["lst"]
    if len(runners) != 1:
        names = ", ".join(shown(str(runner[0])) for runner in runners[:8])
        raise ValueError(f"it holds the results of {len(runners)} runners, {names}: save one alone")
    iterations = runners[0][1]
    pieces: dict[str, list[np.ndarray]] = {}
    for iteration in iterations:
        for name, value in iteration["outputs"].items():
            pieces.setdefault(name, []).append(_decoded(value, name=name))
    for name, parts in pieces.items():
        if len(parts) != len(iterations) or any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            raise ValueError(f"{shown(name)} is not of one shape in all {len(iterations)} iterations")
    if not pieces:
        raise ValueError("it holds no outputs")
    return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in pieces.items()}


def _decoded(value: Mapping[str, Any], *, name: str) -> np.ndarray:
    """An array: an .npy file in base64, in newer releases within an object of its own."""
    inner = value.get("values", value)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("array"), str):
        raise ValueError(f"{shown(name)} is no array")
    try:
        raw = base64.b64decode(inner["array"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{shown(name)} is damaged ({error})") from None
    stream = io.BytesIO(raw)
    shape, fortran, dtype = npy_header(stream)
    size = len(raw) - stream.tell()
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{shown(name)} is no array of {size} bytes")
    return np.frombuffer(raw, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
