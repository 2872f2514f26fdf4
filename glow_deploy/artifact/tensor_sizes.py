"""What is known of a tensor before anything is run: its element type and its size for one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BOOLEAN", "FLOAT", "INTEGER", "RuleError", "TensorSize", "axis_of", "broadcast"]

BOOLEAN = 9  # onnx.TensorProto.BOOL
FLOAT = frozenset({1, 10, 16})  # onnx.TensorProto.FLOAT, FLOAT16, BFLOAT16
INTEGER = frozenset({7})  # INT64


class RuleError(Exception):
    """A node that no graph of ours holds; the message says what is wrong with it, without its name."""


@dataclass(frozen=True)
class TensorSize:
    """One tensor.

    Attributes:
        element: number of its type, as in onnx.TensorProto.
        dims: its dimensions, without the batch.
        batched: it has a batch, which is its first dimension. What is not batched is made of weights alone.
        values: of a small list of whole numbers among the weights, such as axes; None for all else.
        stored: it is a weight of the file, and not computed.
    """

    element: int
    dims: tuple[int, ...]
    batched: bool
    values: tuple[int, ...] | None = None
    stored: bool = False

    @property
    def count(self) -> int:
        """Values for one image."""
        return math.prod(self.dims)

    @property
    def rank(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.dims) + self.batched


def axis_of(axis: int, tensor: TensorSize) -> int:
    """Turn an axis of a node, which may be negative and counts the batch, into a position in `dims`.

    Raises:
        RuleError: there is no such axis, or it is the batch's.
    """
    if not -tensor.rank <= axis < tensor.rank:
        raise RuleError(f"has no axis {axis}: its input has {tensor.rank} dimensions")
    place = axis % tensor.rank - tensor.batched
    if place < 0:
        raise RuleError("works along the batch")
    return place


def broadcast(tensors: Sequence[TensorSize]) -> TensorSize:
    """Return the size of what an element-wise operation gives.

    Raises:
        RuleError: the types differ, the sizes do not fit, or the batch would meet another dimension.
    """
    if len({tensor.element for tensor in tensors}) != 1 or tensors[0].element not in FLOAT:
        raise RuleError("takes tensors of one floating type")
    batched = any(tensor.batched for tensor in tensors)
    rank = max(tensor.rank for tensor in tensors)
    dims = [1] * (rank - batched)
    for tensor in tensors:
        if batched and tensor.batched and tensor.rank != rank:
            raise RuleError("puts the batch against another dimension")
        own = tensor.dims
        if batched and not tensor.batched and len(own) == rank:
            if own[0] != 1:
                raise RuleError("puts the batch against a weight's dimension")
            own = own[1:]
        for place, size in enumerate(own, start=len(dims) - len(own)):
            if dims[place] not in (1, size) and size != 1:
                raise RuleError(f"takes sizes that do not fit: {dims[place]} and {size}")
            dims[place] = max(dims[place], size)
    return TensorSize(tensors[0].element, tuple(dims), batched)
