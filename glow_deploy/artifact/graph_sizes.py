"""The size of every tensor of a graph, worked out here and held against limits, before any runtime sees the graph.

ONNX's own shape inference runs on files that have passed this only: it can be made to build gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_deploy.errors import BundleError
from glow_deploy.printable import shown

from .limits import (
    MOST_AXES,
    MOST_CONSTANTS,
    MOST_CONSTANTS_PER_WEIGHT,
    MOST_DIM,
    MOST_LIVE_VALUES,
    MOST_TENSOR_VALUES,
    MOST_WORK,
)
from .operator_rules import RULES, Attributes, Node
from .tensor_sizes import FLOAT, INTEGER, RuleError, TensorSize

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphSizes", "infer_sizes"]

_LONGEST_LIST = 65536  # whole numbers whose values matter: an index for each row of an image


@dataclass(frozen=True, kw_only=True)
class GraphSizes:
    """What a graph asks for.

    Attributes:
        tensors: every input, weight and result by name.
        work: multiplications and element-wise results for one image.
        live: values needed at one moment for one image, at most.
        constants: values that are computed from weights alone.
    """

    tensors: Mapping[str, TensorSize]
    work: int
    live: int
    constants: int


@dataclass
class _Walk:
    """Node by node, in the file's order, which is the order a runtime may run them in."""

    source: str
    weights: int = 0  # values stored in the file
    tensors: dict[str, TensorSize] = field(default_factory=dict)
    work: int = 0
    constants: int = 0

    def refuse(self, node: Any, words: str) -> BundleError:
        return BundleError(f"{self.source}: node {shown(node.name)!r} ({shown(node.op_type)}) {words}")

    def define(self, name: str, size: TensorSize) -> None:
        if not name or name in self.tensors:
            raise BundleError(f"{self.source}: the tensor {shown(name)!r} is given twice, or has no name")
        if len(size.dims) > MOST_AXES or any(not 0 < dim <= MOST_DIM for dim in size.dims):
            raise BundleError(
                f"{self.source}: the tensor {shown(name)!r} has a size out of range; 1 to {MOST_AXES} dimensions of "
                f"1 to {MOST_DIM} are accepted"
            )
        if size.count > MOST_TENSOR_VALUES:
            raise BundleError(
                f"{self.source}: the tensor {shown(name)!r} would hold {size.count} values for one image; "
                f"{MOST_TENSOR_VALUES} at most are accepted"
            )
        self.tensors[name] = size

    def run(self, node: Any) -> None:
        rule = RULES.get(node.op_type)
        if rule is None or node.domain not in ("", "ai.onnx"):
            raise self.refuse(node, "is not part of a Glow")
        for name in node.input:
            if name not in self.tensors:
                raise self.refuse(node, f"reads {shown(name)!r}, which nothing before it gives")
        if not rule.inputs[0] <= len(node.input) <= rule.inputs[1]:
            raise self.refuse(node, f"has {len(node.input)} inputs")
        if not rule.outputs[0] <= len(node.output) <= rule.outputs[1]:
            raise self.refuse(node, f"has {len(node.output)} outputs")
        inputs = tuple(self.tensors[name] for name in node.input)
        try:
            attributes = _attributes(node, rule.attributes)
            results, work = rule.infer(Node(inputs, attributes, len(node.output)))
        except RuleError as error:
            raise self.refuse(node, str(error)) from None
        for name, result in zip(node.output, results, strict=True):
            self.define(name, result)
            self.work += result.count
            if not result.batched:
                self.constants += result.count
        self.work += work
        most = MOST_CONSTANTS + MOST_CONSTANTS_PER_WEIGHT * self.weights
        if self.constants > most:
            raise self.refuse(node, f"makes the tensors computed from weights alone larger than {most} values")
        if self.work > MOST_WORK:
            raise self.refuse(node, f"makes one image cost more than {MOST_WORK} multiplications")


def infer_sizes(model: onnx.ModelProto, *, source: str) -> GraphSizes:
    """Work out every size of a graph.

    Args:
        model: without subgraphs and functions; its weights hold what their sizes say.
        source: its name, for messages.

    Raises:
        BundleError: a node that no Glow has, or a tensor, or all of them, beyond the limits of `artifact.limits`.
    """
    graph = model.graph
    walk = _Walk(source)
    for tensor in graph.initializer:
        size = _stored(tensor)
        walk.weights += size.count
        walk.define(tensor.name, size)
    for value in graph.input:
        walk.define(value.name, _declared(value, source))
    for node in graph.node:
        walk.run(node)
    for value in graph.output:
        _check_output(walk.tensors.get(value.name), _declared(value, source), value.name, source)
    for value in graph.value_info:
        known = walk.tensors.get(value.name)
        if known is not None:
            _check_noted(known, value, source)
    live = _live(graph, walk.tensors)
    if live > MOST_LIVE_VALUES:
        raise BundleError(
            f"{source}: needs {live} values at once for one image; {MOST_LIVE_VALUES} at most are accepted"
        )
    return GraphSizes(tensors=walk.tensors, work=walk.work, live=live, constants=walk.constants)


def _stored(tensor: Any) -> TensorSize:
    dims = tuple(tensor.dims)
    values = None
    if tensor.data_type in INTEGER and len(dims) == 1 and 0 < dims[0] <= _LONGEST_LIST:
        held = np.frombuffer(tensor.raw_data, "<i8") if tensor.raw_data else tensor.int64_data
        values = tuple(int(value) for value in held)
    return TensorSize(tensor.data_type, dims, batched=False, values=values, stored=True)


def _declared(value: Any, source: str) -> TensorSize:
    """The size of a graph's input or output, whose first dimension must be the batch."""
    tensor = value.type.tensor_type
    dims = list(tensor.shape.dim)
    if value.type.WhichOneof("value") != "tensor_type" or not dims or not dims[0].dim_param:
        raise BundleError(f"{source}: {shown(value.name)!r} must have a named batch dimension and fixed others")
    if any(dim.dim_value <= 0 for dim in dims[1:]):
        raise BundleError(f"{source}: {shown(value.name)!r} must have a named batch dimension and fixed others")
    if tensor.elem_type not in FLOAT | INTEGER:
        raise BundleError(f"{source}: {shown(value.name)!r} has an element type that no Glow has")
    return TensorSize(tensor.elem_type, tuple(dim.dim_value for dim in dims[1:]), batched=True)


def _check_output(found: TensorSize | None, declared: TensorSize, name: str, source: str) -> None:
    if found is None:
        raise BundleError(f"{source}: nothing gives its output {shown(name)!r}")
    if (found.dims, found.batched, found.element) != (declared.dims, True, declared.element):
        raise BundleError(
            f"{source}: its output {shown(name)!r} is declared as {list(declared.dims)} and comes out as "
            f"{list(found.dims)} for one image, or is of another type"
        )


def _check_noted(found: TensorSize, value: Any, source: str) -> None:
    """What a file notes of an inner tensor, as far as it says anything, must be true: runtimes believe it."""
    tensor = value.type.tensor_type
    dims = list(tensor.shape.dim)[found.batched :]
    wrong = tensor.elem_type not in (0, found.element) or (
        tensor.HasField("shape")
        and (
            len(dims) != len(found.dims)
            or any(
                dim.HasField("dim_value") and dim.dim_value != size for dim, size in zip(dims, found.dims, strict=True)
            )
        )
    )
    if wrong:
        raise BundleError(f"{source}: notes another size or type for {shown(value.name)!r} than the tensor has")


def _live(graph: Any, tensors: Mapping[str, TensorSize]) -> int:
    """The most values that are needed at one moment, when nodes run in the file's order."""
    last = {name: index for index, node in enumerate(graph.node) for name in (*node.input, *node.output)}
    last.update({value.name: len(graph.node) for value in graph.output})
    done: dict[int, list[str]] = {}
    for name, index in last.items():
        done.setdefault(index, []).append(name)
    held = sum(tensors[value.name].count for value in graph.input)
    most = held
    for index, node in enumerate(graph.node):
        held += sum(tensors[name].count for name in node.output if tensors[name].batched)
        most = max(most, held)
        held -= sum(tensors[name].count for name in done.get(index, ()) if tensors[name].batched)
    return most


def _attributes(node: Any, known: Mapping[str, type]) -> Attributes:
    from onnx import AttributeProto

    kinds = {AttributeProto.INT: (int, "i"), AttributeProto.STRING: (str, "s"), AttributeProto.INTS: (tuple, "ints")}
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        kind, own = kinds.get(attribute.type, (None, ""))
        if kind is None or known.get(attribute.name) is not kind:
            raise RuleError(f"has an attribute {shown(attribute.name)!r} that is not known, or of another type")
        # The type says which field counts; tensors and graphs may lie in the others, which nothing else looks at.
        filled = {entry.name for entry, _ in attribute.ListFields()} - {"name", "type", "doc_string", own}
        if filled:
            raise RuleError(f"has an attribute {attribute.name} that holds {min(filled)} beside its value")
        if attribute.name in found or len(attribute.ints) > MOST_AXES or len(attribute.s) > MOST_AXES:
            raise RuleError(f"has an attribute {attribute.name} that is given twice, or is too long")
        if kind is int:
            found[attribute.name] = attribute.i
        elif kind is tuple:
            found[attribute.name] = tuple(attribute.ints)
        else:
            found[attribute.name] = attribute.s.decode("ascii", "replace")
    return found
