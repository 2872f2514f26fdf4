"""What a graph may hold before any runtime is allowed to load it.

`onnx.checker` passing does not make a file safe to load: tiny files can ask a runtime for gigabytes, make it divide by
zero, or name files outside their folder. Graphs of this tool need few operators, so everything else is refused, and so
is every size beyond `artifact.limits`. All this happens on the parsed file, before anything else of ONNX sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError
from glow_deploy.printable import shown

from .files import read_regular
from .graph_sizes import GraphSizes, infer_sizes
from .limits import LONGEST_NAME, MOST_AXES, MOST_DIM, MOST_NODES, SIZE_LIMIT
from .metadata import IO_KEY
from .operator_rules import RULES
from .wire import check_wire

if TYPE_CHECKING:
    import onnx

__all__ = [
    "ALLOWED_OPS",
    "check_text",
    "check_weights",
    "lint_model",
    "load_model",
    "parse_model",
    "read_model",
    "type_name",
]

ALLOWED_OPS = frozenset(RULES)

_MOST_FOREIGN_AXES = 64


def read_model(path: Path) -> onnx.ModelProto:
    """Read and lint an ONNX file.

    Raises:
        BundleError: missing, too large, not ONNX, or holding something `lint_model` refuses.
    """
    return parse_model(read_regular(Path(path), most=SIZE_LIMIT, error=BundleError), source=str(path))


def parse_model(data: bytes, *, source: str) -> onnx.ModelProto:
    """Parse and lint an ONNX file's bytes; `source` names it in messages.

    Raises:
        BundleError: not ONNX, cut short, or holding something `lint_model` refuses.
    """
    model = load_model(data, source=source)
    lint_model(model, source=source)
    return model


def load_model(data: bytes, *, source: str, foreign: bool = False) -> onnx.ModelProto:
    """Parse the bytes of any ONNX file, in memory that is in proportion to its size; nothing in it is judged.

    Args:
        data: the whole file.
        source: its name, for messages.
        foreign: it may be of any origin, with weights in the attributes of its nodes.

    Raises:
        BundleError: not ONNX, cut short, or far larger in memory than as a file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    check_wire(data, source=source, foreign=foreign)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{source}: not an ONNX file, or damaged") from error
    if not model.HasField("graph") or not model.graph.node:
        raise BundleError(f"{source}: not an ONNX file (no graph in it)")
    return model


def check_text(model: onnx.ModelProto, *, source: str) -> None:
    """Refuse a graph whose names or metadata are not UTF-8; protobuf gives them as bytes, which nothing expects.

    Raises:
        BundleError: the file is damaged.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise BundleError(f"{source}: a name or metadata entry is not UTF-8 ({text[:40]!r}): the file is damaged")
        if len(text) > LONGEST_NAME:
            raise BundleError(
                f"{source}: a name or metadata entry has {len(text)} letters; {LONGEST_NAME} at most are accepted"
            )


def check_weights(model: onnx.ModelProto, *, source: str) -> None:
    """Refuse weights of a graph of any origin that claim sizes beyond reason, or other ones than their bytes have.

    Raises:
        BundleError: naming the first.
    """
    from onnx import TensorProto, helper

    for tensor in model.graph.initializer:
        where = f"{source}: weight {shown(tensor.name)!r}"
        if (
            len(tensor.dims) > _MOST_FOREIGN_AXES
            or not 0 <= math.prod(tensor.dims) < 2**63
            or min(tensor.dims, default=0) < 0
        ):
            raise BundleError(f"{where} has a size out of range")
        try:
            size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, ValueError, TypeError):
            continue  # of a type that is not known here
        packed = tensor.data_type > TensorProto.BFLOAT16  # several values in a byte
        held, wanted = len(tensor.raw_data), size * math.prod(tensor.dims)
        if held not in (0, wanted) and not packed:
            raise BundleError(f"{where} holds {held} bytes; its shape asks for {wanted}")


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


def lint_model(model: onnx.ModelProto, *, source: str) -> GraphSizes:
    """Refuse everything a Glow graph has no use for.

    That is: external data, operators outside `ALLOWED_OPS` (so no Random*, no control flow, no Det or Inverse) and
    variants of them that no Glow has, custom domains, functions, training information, sparse initializers, float64
    tensors, initializers whose data does not match their shape, names that are not text, given twice or used before
    they are given, and sizes beyond `artifact.limits`.

    Returns:
        The size of every tensor.

    Raises:
        BundleError: naming the first offence.
    """
    from onnx import TensorProto

    graph = model.graph
    most = max(len(graph.node), len(graph.initializer), len(graph.value_info), len(graph.input), len(graph.output))
    if max(most, len(model.metadata_props), len(model.opset_import)) > MOST_NODES:
        raise BundleError(f"{source}: holds {most} nodes or weights; {MOST_NODES} at most are accepted")
    check_text(model, source=source)
    if any(entry.key == IO_KEY for entry in model.metadata_props):
        raise BundleError(
            f"{source}: takes or gives 8-bit pictures, for programs of yours; this tool runs the graph of the same "
            "role in its bundle, encoder.onnx or decoder.onnx"
        )
    if model.functions:
        raise BundleError(f"{source}: holds {len(model.functions)} local functions, which are not accepted")
    if model.training_info:
        raise BundleError(f"{source}: holds training information, which is not accepted")
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            raise BundleError(f"{source}: uses operators of the domain '{shown(opset.domain)}', which are not accepted")
    if len(model.opset_import) != 1:
        raise BundleError(f"{source}: names {len(model.opset_import)} operator sets; one is needed")
    if graph.sparse_initializer:
        raise BundleError(f"{source}: holds sparse initializers, which are not accepted")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPS:
            raise BundleError(
                f"{source}: node {shown(node.name)!r} is a {shown(node.op_type)}, which is not part of a Glow"
            )
        for attribute in node.attribute:
            if attribute.name == "to":
                _check_cast(node.name, attribute.i, source=source)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            raise BundleError(f"{source}: tensor {shown(value.name)!r} is float64; TensorRT would demote it in silence")
    for tensor in graph.initializer:
        _check_initializer(tensor, source=source)
    return infer_sizes(model, source=source)


def _check_cast(name: str, to: int, *, source: str) -> None:
    from onnx import TensorProto

    if to == TensorProto.DOUBLE:
        raise BundleError(f"{source}: node {shown(name)!r} casts to float64; TensorRT would demote it in silence")
    if to not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise BundleError(
            f"{source}: node {shown(name)!r} casts to {type_name(to)}; float32, float16 and bfloat16 are accepted"
        )


def _check_initializer(tensor: onnx.TensorProto, *, source: str) -> None:
    from onnx import TensorProto

    where = f"{source}: weight {shown(tensor.name)!r}"
    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise BundleError(f"{where} lies in another file; only one-file graphs are accepted")
    # Bytes of one value, and the typed field that is legal instead of them: other tools write small constants so.
    kinds: dict[int, tuple[int, str]] = {
        TensorProto.FLOAT: (4, "float_data"),
        TensorProto.FLOAT16: (2, "int32_data"),
        TensorProto.BFLOAT16: (2, "int32_data"),
        TensorProto.INT64: (8, "int64_data"),
    }
    if tensor.data_type not in kinds:
        raise BundleError(
            f"{where} is {type_name(tensor.data_type)}; float32, float16, bfloat16 and int64 are accepted"
        )
    if any(dim < 0 for dim in tensor.dims):
        raise BundleError(f"{where} has a negative size")
    if len(tensor.dims) > MOST_AXES:
        raise BundleError(f"{where} has {len(tensor.dims)} dimensions; {MOST_AXES} at most are accepted")
    size, typed = kinds[tensor.data_type]
    fields = ("float_data", "int32_data", "int64_data", "uint64_data", "double_data", "string_data")
    filled = [name for name in fields if len(getattr(tensor, name))]
    raw = len(tensor.raw_data)  # once, for each look at them copies all bytes
    if tensor.HasField("segment") or len(filled) + (raw > 0) > 1 or filled not in ([], [typed]):
        raise BundleError(f"{where} holds its values in a way that is not accepted, or twice")
    count = math.prod(tensor.dims)
    if not raw:
        held = len(getattr(tensor, typed))
    else:
        held, rest = divmod(raw, size)
        held += rest > 0  # half a value more than a whole number of them is damage too
    if held != count:
        raise BundleError(f"{where} holds {held} values; its shape asks for {shown(count)}")
    if not all(0 < dim <= MOST_DIM for dim in tensor.dims):
        raise BundleError(f"{where} has a size out of range")
