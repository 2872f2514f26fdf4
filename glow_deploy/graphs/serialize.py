"""Writing a graph as protobuf bytes without a copy of its weights.

`SerializeToString` copies a full-size model's 180 MB several times over while its buffer grows, and `ByteSize` does the
same work again. The wire format is simple enough to put the large parts in by hand: a message is its fields one after
the other, each a tag, a length and its bytes (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.errors import UsageError

from .graph import Graph

__all__ = ["serialize", "write_graph"]


def serialize(graph: Graph) -> bytes:
    """Return the bytes of an ONNX file; the same graph gives the same bytes.

    Raises:
        UsageError: it would not fit in one ONNX file.
    """
    return b"".join(_pieces(graph))


def write_graph(graph: Graph, path: Path) -> str:
    """Write an ONNX file, flushed to disk, and return its sha256.

    Raises:
        UsageError: it would not fit in one ONNX file.
        OSError: it cannot be written.
    """
    pieces = _pieces(graph)
    digest = hashlib.sha256()
    with path.open("wb") as handle:
        for piece in pieces:
            digest.update(piece)
            handle.write(piece)
        handle.flush()
        os.fsync(handle.fileno())
    return digest.hexdigest()


def _pieces(graph: Graph) -> list[bytes | memoryview]:
    skeleton = graph.skeleton
    parts: list[bytes | memoryview] = [skeleton.graph.SerializeToString(deterministic=True)]
    for name, array in graph.weights.items():
        body = list(_tensor(name, array))
        parts += _open(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, _size(body))
        parts += body
    outer = onnx.ModelProto(ir_version=skeleton.ir_version, producer_name=skeleton.producer_name)
    outer.opset_import.extend(skeleton.opset_import)
    outer.metadata_props.extend(skeleton.metadata_props)
    size = _size(parts)
    if size > SIZE_LIMIT - outer.ByteSize() - 16:
        raise UsageError(f"the graph would take {size} bytes; one ONNX file holds less than 2 GiB")
    envelope = outer.SerializeToString(deterministic=True)
    return [envelope, *_open(onnx.ModelProto.GRAPH_FIELD_NUMBER, size), *parts]


def _tensor(name: str, array: np.ndarray) -> Iterator[bytes | memoryview]:
    head = onnx.TensorProto(name=name, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    yield head.SerializeToString(deterministic=True)
    yield from _open(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, array.nbytes)
    # As bytes, whatever the element type: bfloat16 is none that a memoryview knows.
    yield array.reshape(-1).view(np.uint8).data


def _size(parts: list[bytes | memoryview]) -> int:
    return sum(len(part) for part in parts)


def _open(number: int, length: int) -> list[bytes | memoryview]:
    """Tag (wire type 2, length-delimited) and length of a field."""
    return [_varint(number << 3 | 2), _varint(length)]


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
