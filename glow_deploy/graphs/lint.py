"""What a graph may hold before any runtime is allowed to load it.

`onnx.checker` passing does not make a file safe to load: tiny files can ask a runtime for gigabytes or name files
outside their folder. Graphs of this tool need few operators, so everything else is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BundleError

if TYPE_CHECKING:
    import onnx

__all__ = ["ALLOWED_OPS", "SIZE_LIMIT", "lint_model", "parse_model", "read_model"]

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
            raise BundleError(f"{path}: {size} bytes; an ONNX file of one piece ends at {SIZE_LIMIT}")
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

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{source}: not an ONNX file, or damaged") from error
    if not model.HasField("graph") or not model.graph.node:
        raise BundleError(f"{source}: not an ONNX file (no graph in it)")
    lint_model(model, source=source)
    return model


def lint_model(model: onnx.ModelProto, *, source: str) -> None:
    """Refuse everything a Glow graph has no use for.

    That is: external data, operators outside `ALLOWED_OPS` (so no Random*, no control flow, no Det or Inverse), custom
    domains, functions, sparse initializers, float64 tensors, and initializers whose data does not match their shape.

    Raises:
        BundleError: naming the first offence.
    """
    from onnx import TensorProto

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
        if any(attribute.name == "to" and attribute.i == TensorProto.DOUBLE for attribute in node.attribute):
            raise BundleError(f"{source}: node {node.name!r} casts to float64; TensorRT would demote it in silence")
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            raise BundleError(f"{source}: tensor {value.name!r} is float64; TensorRT would demote it in silence")
    for tensor in graph.initializer:
        _check_initializer(tensor, source=source)


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
        name = TensorProto.DataType.Name(tensor.data_type)
        raise BundleError(
            f"{source}: weight {tensor.name!r} is {name}; float32, float16, bfloat16 and int64 are accepted"
        )
    count = 1
    for dim in tensor.dims:
        count *= dim
    if not tensor.raw_data:
        # Typed fields are legal ONNX; other tools rewrite small constants into them.
        held = len(tensor.float_data) or len(tensor.int64_data) or len(tensor.int32_data)
    else:
        held = len(tensor.raw_data) // sizes[tensor.data_type]
    if held != count:
        raise BundleError(f"{source}: weight {tensor.name!r} holds {held} values; its shape asks for {count}")
