"""The operators of a Glow: the attributes each may have, and the size of what it gives.

Each follows the ONNX operator of its name (onnx.ai/onnx/operators) as far as a Glow uses it. Everything else is
refused, so that no runtime ever sees a block of 2^62 pixels, a stride of 0 or a division of whole numbers by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .limits import MOST_PARTS
from .tensor_sizes import BOOLEAN, FLOAT, INTEGER, RuleError, TensorSize, axis_of, broadcast

__all__ = ["RULES", "Attributes", "Node"]

Value = int | str | tuple[int, ...]
Attributes = Mapping[str, Value]


@dataclass(frozen=True)
class Node:
    """One node as a rule sees it.

    Attributes:
        inputs: what it reads.
        attributes: by name.
        outputs: how many tensors it gives.
    """

    inputs: tuple[TensorSize, ...]
    attributes: Attributes
    outputs: int

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an attribute that is one whole number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise RuleError(f"lacks a whole number {name}")
        return value


@dataclass(frozen=True)
class Rule:
    """What a node of one operator may be.

    Attributes:
        inputs: fewest and most.
        attributes: that it may have, with the kind of each.
        infer: gives the sizes of its outputs, and its multiplications for one image.
        outputs: fewest and most.
    """

    inputs: tuple[int, int]
    infer: Callable[[Node], tuple[list[TensorSize], int]]
    attributes: Mapping[str, type] = field(default_factory=dict)
    outputs: tuple[int, int] = (1, 1)


def _element_wise(node: Node) -> tuple[list[TensorSize], int]:
    return [broadcast(node.inputs)], 0


def _compare(node: Node) -> tuple[list[TensorSize], int]:
    return [replace(broadcast(node.inputs), element=BOOLEAN)], 0


def _clip(node: Node) -> tuple[list[TensorSize], int]:
    x, *bounds = node.inputs
    if any(bound.batched or bound.dims or bound.element != x.element for bound in bounds):
        raise RuleError("clips to something else than two numbers among the weights")
    return _element_wise(node)


def _cast(node: Node) -> tuple[list[TensorSize], int]:
    to = node.integer("to")
    if node.inputs[0].element not in FLOAT | {BOOLEAN} or to not in FLOAT:
        raise RuleError("casts something else than one float type to another, or a comparison to a float type")
    return [replace(node.inputs[0], element=to, stored=False)], 0


def _concat(node: Node) -> tuple[list[TensorSize], int]:
    first = node.inputs[0]
    place = axis_of(node.integer("axis"), first)
    for other in node.inputs:
        alike = (other.element, other.batched, other.rank) == (first.element, first.batched, first.rank)
        if not alike or other.element not in FLOAT or _without(other.dims, place) != _without(first.dims, place):
            raise RuleError("joins tensors that do not fit each other")
    total = sum(other.dims[place] for other in node.inputs)
    return [replace(first, dims=_with(first.dims, place, total), stored=False)], 0


def _conv(node: Node) -> tuple[list[TensorSize], int]:
    x, weight = node.inputs[:2]
    if not x.batched or len(x.dims) != 3 or not weight.stored or len(weight.dims) != 4 or weight.element not in FLOAT:
        raise RuleError("is not a convolution of images with a weight [O,C,k,k]")
    outputs, channels, size, width = weight.dims
    group = node.attributes.get("group", 1)
    if not isinstance(group, int) or group < 1 or outputs % group or channels * group != x.dims[0]:
        raise RuleError(f"takes {x.dims[0]} channels with a weight {list(weight.dims)} and a group of {group}")
    if size != width or size % 2 == 0 or x.element != weight.element:
        raise RuleError(f"takes {x.dims[0]} channels with a weight {list(weight.dims)}; a square odd kernel is needed")
    plain: Attributes = {
        "strides": (1, 1),
        "dilations": (1, 1),
        "auto_pad": "NOTSET",
        "kernel_shape": (size, size),
        "pads": (size // 2,) * 4,
    }
    for name, value in plain.items():
        default = (0,) * 4 if name == "pads" else value
        if node.attributes.get(name, default) != value:
            raise RuleError(f"has {name} {node.attributes.get(name, default)}; {value} keeps the image's size")
    if len(node.inputs) > 2:
        bias = node.inputs[2]
        if not bias.stored or bias.dims != (outputs,) or bias.element != x.element:
            raise RuleError(f"has a bias {list(bias.dims)} for {outputs} channels")
    result = replace(x, dims=(outputs, *x.dims[1:]))
    return [result], result.count * channels * size * size


def _space_to_depth(node: Node) -> tuple[list[TensorSize], int]:
    channels, height, width, block = _blocks(node)
    if height % block or width % block:
        raise RuleError(f"cuts {height}x{width} pixels into blocks of {block}x{block}")
    return [replace(node.inputs[0], dims=(channels * block * block, height // block, width // block))], 0


def _depth_to_space(node: Node) -> tuple[list[TensorSize], int]:
    channels, height, width, block = _blocks(node)
    if channels % (block * block) or node.attributes.get("mode", "DCR") not in ("DCR", "CRD"):
        raise RuleError(f"makes blocks of {block}x{block} of {channels} channels")
    return [replace(node.inputs[0], dims=(channels // (block * block), height * block, width * block))], 0


def _blocks(node: Node) -> tuple[int, int, int, int]:
    x, block = node.inputs[0], node.integer("blocksize")
    if not 1 <= block <= MOST_PARTS:
        raise RuleError(f"has blocks of {block} pixels; 1 to {MOST_PARTS} are accepted")
    if not x.batched or len(x.dims) != 3 or x.element not in FLOAT:
        raise RuleError("takes images")
    channels, height, width = x.dims
    return channels, height, width, block


def _gather(node: Node) -> tuple[list[TensorSize], int]:
    table, index = node.inputs
    if table.batched or index.element not in INTEGER or table.element not in FLOAT or not table.dims:
        raise RuleError("looks up something else than a weight by whole numbers")
    place = axis_of(node.integer("axis", 0), table)
    if index.batched:
        # The classes of the images: one entry of a table for each.
        if place or index.dims:
            raise RuleError("spreads the batch over another dimension")
        return [TensorSize(table.element, table.dims[1:], batched=True)], 0
    # The edge of a convolution, spread over the image.
    if index.values is None or len(index.dims) != 1:
        raise RuleError("looks up by numbers that are no weight of the graph")
    if any(not -table.dims[place] <= entry < table.dims[place] for entry in index.values):
        raise RuleError(f"looks up an entry outside the {table.dims[place]} that are there")
    return [TensorSize(table.element, _with(table.dims, place, len(index.values)), batched=False)], 0


def _reduce(node: Node) -> tuple[list[TensorSize], int]:
    x, axes = node.inputs
    if axes.values is None or len(axes.dims) != 1 or not x.batched or x.element not in FLOAT:
        raise RuleError("reduces axes that are no weight of the graph")
    keep, noop = node.integer("keepdims", 1), node.integer("noop_with_empty_axes", 0)
    places = [axis_of(axis, x) for axis in axes.values]
    if not places or len(set(places)) != len(places) or noop not in (0, 1) or keep not in (0, 1):
        raise RuleError("reduces no axes, or one twice")
    dims = [1 if place in places else size for place, size in enumerate(x.dims) if keep or place not in places]
    return [replace(x, dims=tuple(dims))], x.count


def _split(node: Node) -> tuple[list[TensorSize], int]:
    x = node.inputs[0]
    if not x.batched or x.element not in FLOAT:
        raise RuleError("splits something else than images")
    place = axis_of(node.integer("axis", 0), x)
    size = x.dims[place]
    if node.integer("num_outputs", node.outputs) != node.outputs:
        raise RuleError(f"names {node.outputs} parts and asks for {node.integer('num_outputs')}")
    if len(node.inputs) > 1:
        sizes = node.inputs[1].values
        if sizes is None or len(sizes) != node.outputs or min(sizes) < 1 or sum(sizes) != size:
            raise RuleError(f"splits {size} channels into parts that do not add up to them")
    elif size % node.outputs:
        raise RuleError(f"splits {size} channels into {node.outputs} equal parts")
    else:
        sizes = (size // node.outputs,) * node.outputs
    return [replace(x, dims=_with(x.dims, place, part)) for part in sizes], 0


def _without(dims: Sequence[int], place: int) -> tuple[int, ...]:
    return (*dims[:place], *dims[place + 1 :])


def _with(dims: Sequence[int], place: int, size: int) -> tuple[int, ...]:
    return (*dims[:place], size, *dims[place + 1 :])


_UNARY = Rule((1, 1), _element_wise)
_BINARY = Rule((2, 2), _element_wise)
_VARIADIC = Rule((1, MOST_PARTS), _element_wise)
_REDUCE = Rule((2, 2), _reduce, {"keepdims": int, "noop_with_empty_axes": int})
_CONV = {
    "auto_pad": str,
    "dilations": tuple,
    "group": int,
    "kernel_shape": tuple,
    "pads": tuple,
    "strides": tuple,
}

RULES: Mapping[str, Rule] = {
    "Abs": _UNARY,
    "Add": _BINARY,
    "Cast": Rule((1, 1), _cast, {"to": int, "saturate": int}),
    "Clip": Rule((3, 3), _clip),
    "Concat": Rule((1, MOST_PARTS), _concat, {"axis": int}),
    "Conv": Rule((2, 3), _conv, _CONV),
    "DepthToSpace": Rule((1, 1), _depth_to_space, {"blocksize": int, "mode": str}),
    "Div": _BINARY,
    "Exp": _UNARY,
    "Floor": _UNARY,
    "Gather": Rule((2, 2), _gather, {"axis": int}),
    "LessOrEqual": Rule((2, 2), _compare),
    "Log": _UNARY,
    "Mul": _BINARY,
    "Neg": _UNARY,
    "ReduceSum": _REDUCE,
    "Relu": _UNARY,
    "Round": _UNARY,
    "Sigmoid": _UNARY,
    "Softplus": _UNARY,
    "SpaceToDepth": Rule((1, 1), _space_to_depth, {"blocksize": int}),
    "Split": Rule((1, 2), _split, {"axis": int, "num_outputs": int}, (1, MOST_PARTS)),
    "Sub": _BINARY,
    "Sum": _VARIADIC,
}
"""The operators that are accepted; all others are refused."""
