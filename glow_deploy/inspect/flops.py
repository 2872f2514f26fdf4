"""How much arithmetic a graph asks for, counted from its convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glow_deploy.artifact.graph_sizes import infer_sizes

if TYPE_CHECKING:
    import onnx

__all__ = ["Convolution", "convolutions", "flops_per_image"]


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One Conv node as the matrix product it amounts to: [rows, inner] times [inner, columns] for one image.

    Attributes:
        name: of the node.
        rows: output channels.
        inner: input channels times kernel area.
        columns: output pixels of one image.
    """

    name: str
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> int:
        """Floating-point operations for one image; a multiplication and an addition are two."""
        return 2 * self.rows * self.inner * self.columns


def flops_per_image(model: onnx.ModelProto) -> int:
    """Return the floating-point operations of all convolutions for one image, which are nearly all a Glow has."""
    return sum(convolution.flops for convolution in convolutions(model))


def convolutions(model: onnx.ModelProto, *, source: str = "the graph") -> tuple[Convolution, ...]:
    """List the convolutions of a graph.

    Args:
        model: an encoder or decoder.
        source: its name, for messages.

    Raises:
        BundleError: the size of an activation cannot be told, or is beyond the limits of `artifact.limits`.
    """
    tensors = infer_sizes(model, source=source).tensors
    found = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        weight, out = tensors[node.input[1]].dims, tensors[node.output[0]].dims
        found.append(
            Convolution(name=node.name, rows=weight[0], inner=math.prod(weight[1:]), columns=math.prod(out[1:]))
        )
    return tuple(found)
