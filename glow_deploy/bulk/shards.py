"""Writing an output shard: Parquet, or an .npz as the other commands write and read them; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.files import atomic_path, sha256_file
from glow_deploy.images import png_bytes

from .arrow import import_arrow
from .settings import Format
from .values import plain_text

__all__ = ["IMAGE", "Column", "write_shard"]

IMAGE = "image"
"""The column of pictures, uint8 [n, C, H, W]."""

Column = npt.NDArray[np.generic] | Sequence[str]
"""A column: an array [n, ...], or n texts."""


def write_shard(path: Path, columns: Mapping[str, Column], *, kind: Format) -> tuple[int, str]:
    """Write a table by one rename; a file of that name is replaced.

    In Parquet an array of more than one dimension is a list of fixed length a row, and the field's metadata give the
    `shape` of a row; pictures are PNG files in a structure of `bytes` and `path`. In .npz everything is an array,
    pictures are `images` [n, H, W, C].

    Args:
        path: of the shard.
        columns: by name, of one length, at least one row.
        kind: of file.

    Returns:
        Its size in bytes, and its sha256.

    Raises:
        UsageError: it cannot be written.
        MissingDependencyError: Parquet, and the package `pyarrow` is not installed.
    """
    with atomic_path(path) as temporary:
        if kind == "npz":
            with temporary.open("wb") as stream:
                np.savez(stream, **_arrays(columns))  # type: ignore[arg-type]  # the stubs mistake the arrays
        else:
            arrow = import_arrow("writing Parquet shards")
            arrow.parquet.write_table(_table(arrow, columns), temporary, compression="zstd")
        return temporary.stat().st_size, sha256_file(temporary)


def _arrays(columns: Mapping[str, Column]) -> dict[str, npt.NDArray[np.generic]]:
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, column in columns.items():
        if not isinstance(column, np.ndarray):
            found[name] = np.array([plain_text(item) for item in column], dtype=np.str_)
        elif name == IMAGE:
            found["images"] = column.transpose(0, 2, 3, 1)
        else:
            found[name] = column
    return found


def _table(arrow: Any, columns: Mapping[str, Column]) -> Any:
    fields, arrays = [], []
    for name, column in columns.items():
        array, shape = _arrow_array(arrow, name, column)
        metadata = None if shape is None else {"shape": json.dumps(shape)}
        fields.append(arrow.field(name, array.type, nullable=False, metadata=metadata))
        arrays.append(array)
    return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields))


def _arrow_array(arrow: Any, name: str, column: Column) -> tuple[Any, tuple[int, ...] | None]:
    if not isinstance(column, np.ndarray):
        return arrow.array([plain_text(item) for item in column], arrow.string()), None
    if name == IMAGE:
        kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        return arrow.array([{"bytes": png_bytes(row), "path": None} for row in column], kind), None
    if column.ndim == 1:
        return arrow.array(column), None
    shape = tuple(column.shape[1:])
    flat = arrow.array(np.ascontiguousarray(column).reshape(-1))
    return arrow.FixedSizeListArray.from_arrays(flat, int(np.prod(shape))), shape
