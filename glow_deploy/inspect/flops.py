"""How much arithmetic a graph asks for, counted from its convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from glow_deploy.errors import BundleError

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


def flops_per_image(model: Any) -> int:
    """Return the floating-point operations of all convolutions for one image, which are nearly all a Glow has."""
    return sum(convolution.flops for convolution in convolutions(model))


def convolutions(model: Any) -> tuple[Convolution, ...]:
    """List the convolutions of an ONNX ModelProto.

    Raises:
        BundleError: the size of an activation cannot be inferred.
    """
    import onnx

    outline = _outline(model)
    try:
        outline = onnx.shape_inference.infer_shapes(outline, data_prop=True)
    except Exception as error:  # C++ exceptions of several kinds
        raise BundleError(f"the graph's shapes cannot be inferred ({' '.join(str(error).split())[:200]})") from error
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*outline.graph.input, *outline.graph.value_info, *outline.graph.output)
    }
    found = []
    for node in outline.graph.node:
        if node.op_type != "Conv":
            continue
        if len(node.input) < 2 or not node.output:
            raise BundleError(f"the convolution {node.name!r} lacks its weight or its result")
        weight, out = shapes.get(node.input[1], []), shapes.get(node.output[0], [])
        if len(weight) < 3 or len(out) < 3 or 0 in weight or 0 in out[1:]:
            raise BundleError(f"the size of the convolution {node.name!r} cannot be inferred")
        found.append(
            Convolution(name=node.name, rows=weight[0], inner=math.prod(weight[1:]), columns=math.prod(out[2:]))
        )
    return tuple(found)


def _outline(model: Any) -> Any:
    """The graph for one image with its weights as inputs: inference needs their shapes, not their megabytes."""
    import onnx

    outline = onnx.ModelProto()
    outline.ir_version = model.ir_version
    outline.opset_import.extend(model.opset_import)
    graph = outline.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT64 and math.prod(tensor.dims) <= 64:
            graph.initializer.append(tensor)  # shapes, axes and split sizes: their values matter
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return outline
