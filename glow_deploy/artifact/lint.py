"""What a graph may hold before any runtime is allowed to load it.

`onnx.checker` passing does not make a file safe to load: tiny files can ask a runtime for gigabytes or name files
outside their folder. Graphs of this tool need few operators, so everything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError

if TYPE_CHECKING:
    import onnx

__all__ = ["ALLOWED_OPS", "SIZE_LIMIT", "check_text", "lint_model", "parse_model", "read_model", "type_name"]

SIZE_LIMIT = 2**31 - 1  # protobuf's own limit

ALLOWED_OPS = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Conv",
        "DepthToSpace",
        "Div",
        "Exp",
        "Gather",
        "Log",
        "Mul",
        "Neg",
        "ReduceSum",
        "Relu",
        "Sigmoid",
        "Softplus",
        "SpaceToDepth",
        "Split",
        "Sub",
    }
)


def read_model(path: Path) -> onnx.ModelProto:
    """Read and lint an ONNX file.

    Raises:
        BundleError: missing, too large, not ONNX, or holding something `lint_model` refuses.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise BundleError(f"{path} is larger than 2 GiB, which no ONNX file of one piece can be")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_model(data, source=str(path))


def parse_model(data: bytes, *, source: str) -> onnx.ModelProto:
    """Parse and lint an ONNX file's bytes; `source` names it in messages.

    Raises:
        BundleError: not ONNX, cut short, or holding something `lint_model` refuses.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > SIZE_LIMIT:
        raise BundleError(f"{source} is larger than 2 GiB, which no ONNX file of one piece can be")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{source}: not an ONNX file, or damaged") from error
    if not model.HasField("graph") or not model.graph.node:
        raise BundleError(f"{source}: not an ONNX file (no graph in it)")
    lint_model(model, source=source)
    return model


def check_text(model: onnx.ModelProto, *, source: str) -> None:
    """Refuse a graph whose names or metadata are not UTF-8; protobuf gives them as bytes, which nothing expects.

    Raises:
        BundleError: the file is damaged.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise BundleError(f"{source}: a name or metadata entry is not UTF-8 ({text[:40]!r}): the file is damaged")


def type_name(data_type: int) -> str:
    """The name of an ONNX element type, `FLOAT`, or its number where it has none."""
    from onnx import TensorProto

    known: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return known.get(data_type, f"type {data_type}")


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    yield from (model.producer_name, model.producer_version, model.domain, model.graph.name)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for opset in model.opset_import:
        yield opset.domain
    graph = model.graph
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name


def lint_model(model: onnx.ModelProto, *, source: str) -> None:
    """Refuse everything a Glow graph has no use for.

    That is: external data, operators outside `ALLOWED_OPS` (so no Random*, no control flow, no Det or Inverse), custom
    domains, functions, sparse initializers, float64 tensors, initializers whose data does not match their shape, and
    names that are not text.

    Raises:
        BundleError: naming the first offence.
    """
    from onnx import TensorProto

    check_text(model, source=source)
    if model.functions:
        raise BundleError(f"{source}: holds {len(model.functions)} local functions, which are not accepted")
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            raise BundleError(f"{source}: uses operators of the domain '{opset.domain}', which are not accepted")
    graph = model.graph
    if graph.sparse_initializer:
        raise BundleError(f"{source}: holds sparse initializers, which are not accepted")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPS:
            raise BundleError(f"{source}: node {node.name!r} is a {node.op_type}, which is not part of a Glow")
        for attribute in node.attribute:
            if attribute.name == "to":
                _check_cast(node.name, attribute.i, source=source)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            raise BundleError(f"{source}: tensor {value.name!r} is float64; TensorRT would demote it in silence")
    for tensor in graph.initializer:
        _check_initializer(tensor, source=source)


def _check_cast(name: str, to: int, *, source: str) -> None:
    from onnx import TensorProto

    if to == TensorProto.DOUBLE:
        raise BundleError(f"{source}: node {name!r} casts to float64; TensorRT would demote it in silence")
    if to not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise BundleError(
            f"{source}: node {name!r} casts to {type_name(to)}; float32, float16 and bfloat16 are accepted"
        )


def _check_initializer(tensor: onnx.TensorProto, *, source: str) -> None:
    from onnx import TensorProto

    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise BundleError(f"{source}: weight {tensor.name!r} lies in another file; only one-file graphs are accepted")
    sizes: dict[int, int] = {
        TensorProto.FLOAT: 4,
        TensorProto.FLOAT16: 2,
        TensorProto.BFLOAT16: 2,
        TensorProto.INT64: 8,
    }
    if tensor.data_type not in sizes:
        raise BundleError(
            f"{source}: weight {tensor.name!r} is {type_name(tensor.data_type)}; "
            "float32, float16, bfloat16 and int64 are accepted"
        )
    if any(dim < 0 for dim in tensor.dims):
        raise BundleError(f"{source}: weight {tensor.name!r} has a negative size")
    count = math.prod(tensor.dims)
    if not tensor.raw_data:
        # Typed fields are legal ONNX; other tools rewrite small constants into them.
        held = len(tensor.float_data) or len(tensor.int64_data) or len(tensor.int32_data)
    else:
        held, rest = divmod(len(tensor.raw_data), sizes[tensor.data_type])
        held += rest > 0  # half a value more than a whole number of them is damage too
    if held != count:
        raise BundleError(f"{source}: weight {tensor.name!r} holds {held} values; its shape asks for {count}")
