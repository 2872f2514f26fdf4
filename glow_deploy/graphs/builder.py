"""Building an ONNX graph node by node, with names a person can place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..folding import FoldedConv
from .graph import Graph

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder"]

# The highest pair that TensorRT 11, TensorRT for RTX 1.x and onnxruntime 1.27 all read.
OPSET = 20
IR_VERSION = 10

BATCH = "batch"


class GraphBuilder:
    """Collects nodes and float32 initializers; a tensor is known by its name, a plain string.

    A node named `level1/step01/invconv` has the output `level1/step01/invconv:0` unless told otherwise.

    Args:
        name: of the graph.
    """

    def __init__(self, name: str) -> None:
        self._model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="glow-deploy")
        self._model.opset_import.append(helper.make_opsetid("", OPSET))
        self._graph = self._model.graph
        self._graph.name = name
        self._constants: dict[str, np.ndarray] = {}

    def input(self, name: str, shape: Sequence[int], *, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input [batch, *shape]."""
        self._graph.input.append(helper.make_tensor_value_info(name, dtype, [BATCH, *shape]))
        return name

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare a float32 graph output [batch, *shape]; some node must produce that name."""
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape]))

    def constant(self, name: str, values: np.ndarray) -> str:
        """Store an initializer: integers as int64, all else as float32. Storing a name twice keeps the first."""
        if name not in self._constants:
            integer = np.issubdtype(np.asarray(values).dtype, np.integer)
            # ascontiguousarray would turn a scalar into a vector
            self._constants[name] = np.asarray(values, dtype="<i8" if integer else "<f4", order="C")
        return name

    def node(self, op: str, inputs: Sequence[str], *, name: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        result = output or f"{name}:0"
        self._graph.node.append(helper.make_node(op, list(inputs), [result], name=name, **attributes))
        return result

    def halves(self, tensor: str, *, name: str) -> tuple[str, str]:
        """Split a tensor into its two halves along the channels."""
        results = [f"{name}:0", f"{name}:1"]
        self._graph.node.append(helper.make_node("Split", [tensor], results, name=name, axis=1, num_outputs=2))
        return results[0], results[1]

    def conv(self, tensor: str, conv: FoldedConv, *, name: str) -> str:
        """Add a convolution that keeps the size; its initializers are `<name>/weight` and `<name>/bias`."""
        kernel = conv.weight.shape[2]
        weight = self.constant(f"{name}/weight", conv.weight)
        bias = self.constant(f"{name}/bias", conv.bias)
        pad = kernel // 2
        return self.node(
            "Conv", [tensor, weight, bias], name=name, kernel_shape=[kernel, kernel], pads=[pad, pad, pad, pad]
        )

    def build(self, metadata: dict[str, str]) -> Graph:
        """Return the graph, with `metadata` as its metadata_props in sorted order."""
        for key in sorted(metadata):
            self._model.metadata_props.add(key=key, value=metadata[key])
        return Graph(skeleton=self._model, weights=self._constants)
