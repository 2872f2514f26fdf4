"""Building an ONNX graph node by node, with names a person can place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from glow_deploy.folding import FoldedConv

from .graph import Graph
from .precision_plan import ElementType, PrecisionPlan
from .rounding import narrowed
from .target import SPLIT_COUNTS_OPSET, GraphTarget

__all__ = ["GraphBuilder"]

BATCH = "batch"

_ELEMENT: dict[ElementType, int] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}


class GraphBuilder:
    """Collects nodes and initializers; a tensor is known by its name, a plain string.

    A node named `level1/step01/invconv` has the output `level1/step01/invconv:0` unless told otherwise.

    Args:
        name: of the graph.
        plan: its trunk's number is that of every constant unless told otherwise; None is float32 throughout.
        target: what it is written in; None for the newest that we write.
        bfloat16: there will be convolutions in bfloat16, with no plan that says so.

    Raises:
        UsageError: the plan needs a newer operator set than the target's.
    """

    def __init__(
        self,
        name: str,
        *,
        plan: PrecisionPlan | None = None,
        target: GraphTarget | None = None,
        bfloat16: bool = False,
    ) -> None:
        self._plan = plan
        bfloat16 = bfloat16 or (plan is not None and "bf16" in plan.numbers)
        self._opset, ir_version = (target or GraphTarget()).versions(bfloat16=bfloat16)
        self._model = onnx.ModelProto(ir_version=ir_version, producer_name="glow-deploy")
        self._model.opset_import.append(helper.make_opsetid("", self._opset))
        self._graph = self._model.graph
        self._graph.name = name
        self._constants: dict[str, np.ndarray] = {}

    @property
    def trunk(self) -> ElementType:
        """The number of the trunk's tensors."""
        return "fp32" if self._plan is None else self._plan.trunk

    def conditioner_type(self, path: str) -> ElementType:
        """Return the number of a step's conditioner."""
        return "fp32" if self._plan is None else self._plan.conditioners[path]

    def input(self, name: str, shape: Sequence[int], *, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input [batch, *shape]."""
        self._graph.input.append(helper.make_tensor_value_info(name, dtype, [BATCH, *shape]))
        return name

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare a float32 graph output [batch, *shape]; some node must produce that name."""
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape]))

    def constant(self, name: str, values: np.ndarray, *, number: ElementType | None = None) -> str:
        """Store an initializer: integers as int64, all else in `number`. Storing a name twice keeps the first.

        Args:
            name: of the initializer.
            values: its values.
            number: the trunk's unless given.

        Raises:
            UsageError: a value is beyond the largest of `number`.
        """
        if name not in self._constants:
            integer = np.issubdtype(np.asarray(values).dtype, np.integer)
            # ascontiguousarray would turn a scalar into a vector
            self._constants[name] = (
                np.asarray(values, dtype="<i8", order="C")
                if integer
                else narrowed(values, number or self.trunk, name=name)
            )
        return name

    def cast(self, tensor: str, number: ElementType, *, name: str, output: str | None = None) -> str:
        """Add a Cast to a number and return its output's name."""
        return self.node("Cast", [tensor], name=name, output=output, to=_ELEMENT[number])

    def node(self, op: str, inputs: Sequence[str], *, name: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        result = output or f"{name}:0"
        self._graph.node.append(helper.make_node(op, list(inputs), [result], name=name, **attributes))
        return result

    def halves(self, tensor: str, *, name: str) -> tuple[str, str]:
        """Split a tensor into its two halves along the channels."""
        first, second = self.split(tensor, 2, name=name)
        return first, second

    def split(self, tensor: str, parts: int, *, name: str) -> list[str]:
        """Split a tensor into equal parts along the channels."""
        results = [f"{name}:{part}" for part in range(parts)]
        counted: dict[str, Any] = {"num_outputs": parts} if self._opset >= SPLIT_COUNTS_OPSET else {}
        self._graph.node.append(helper.make_node("Split", [tensor], results, name=name, axis=1, **counted))
        return results

    def conv(
        self, tensor: str, conv: FoldedConv, *, name: str, number: ElementType | None = None, group: int = 1
    ) -> str:
        """Add a convolution that keeps the size; its initializers are `<name>/weight` and `<name>/bias`.

        An edge is not looked at: `parts.edged_conv` adds it.

        Args:
            tensor: its input, of the same number.
            conv: its weights.
            name: of the node.
            number: the trunk's unless given.
            group: in how many parts inputs and outputs are taken, each input part for one output part.

        Raises:
            UsageError: a weight is beyond the largest of `number`.
        """
        kernel = conv.weight.shape[2]
        weight = self.constant(f"{name}/weight", conv.weight, number=number)
        bias = self.constant(f"{name}/bias", conv.bias, number=number)
        pad = kernel // 2
        parts: dict[str, Any] = {} if group == 1 else {"group": group}
        return self.node(
            "Conv", [tensor, weight, bias], name=name, kernel_shape=[kernel, kernel], pads=[pad, pad, pad, pad], **parts
        )

    def build(self, metadata: dict[str, str]) -> Graph:
        """Return the graph, with `metadata` as its metadata_props in sorted order."""
        for key in sorted(metadata):
            self._model.metadata_props.add(key=key, value=metadata[key])
        return Graph(skeleton=self._model, weights=self._constants)
