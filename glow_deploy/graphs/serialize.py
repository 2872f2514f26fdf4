"""Writing a graph as protobuf bytes with one copy of its weights.

`SerializeToString` copies a full-size model's 180 MB several times over while its buffer grows, and `ByteSize` does the
same work again. The wire format is simple enough to put the large parts in by hand: a message is its fields one after
the other, each a tag, a length and its bytes (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import onnx

from ..errors import UsageError
from .lint import SIZE_LIMIT

__all__ = ["serialize"]


def serialize(model: onnx.ModelProto) -> bytes:
    """Return the bytes of a model whose initializers all hold `raw_data`; the same model gives the same bytes.

    Raises:
        UsageError: it would not fit in one ONNX file.
    """
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    parts = [graph.SerializeToString(deterministic=True)]
    for tensor in model.graph.initializer:
        head = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        raw = tensor.raw_data
        body = [head.SerializeToString(deterministic=True), *_field(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, raw)]
        parts += _open(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, sum(map(len, body)))
        parts += body
    outer = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    outer.opset_import.extend(model.opset_import)
    outer.metadata_props.extend(model.metadata_props)
    size = sum(map(len, parts))
    if size > SIZE_LIMIT - outer.ByteSize() - 16:
        raise UsageError(f"the graph would take {size} bytes; one ONNX file holds less than 2 GiB")
    envelope = outer.SerializeToString(deterministic=True)
    return b"".join([envelope, *_open(onnx.ModelProto.GRAPH_FIELD_NUMBER, size), *parts])


def _field(number: int, data: bytes) -> list[bytes]:
    return [*_open(number, len(data)), data]


def _open(number: int, length: int) -> list[bytes]:
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
