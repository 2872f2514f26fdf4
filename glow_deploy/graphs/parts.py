"""What the encoder and the decoder graph have in common."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..folding import FoldedConditioner, FoldedConv, FoldedGlow
from ..precision.plan import PrecisionPlan
from .builder import GraphBuilder
from .metadata import GraphMetadata

__all__ = ["check_plan", "conditioner", "negate_second_half"]


def check_plan(folded: FoldedGlow, metadata: GraphMetadata, plan: PrecisionPlan | None) -> None:
    """Check that a plan is for the model and is the one that the graph will say it has.

    Raises:
        UsageError: it is not.
    """
    name = "fp32" if plan is None else plan.name
    if plan is not None:
        plan.check(folded)
    if metadata.precision != name:
        raise UsageError(f"a graph of precision {name} cannot carry the metadata of precision {metadata.precision}")


def conditioner(graph: GraphBuilder, kept: str, net: FoldedConditioner, *, path: str) -> str:
    """Add conv3x3, ReLU, conv1x1, ReLU, conv3x3 under `<path>/coupling/` and return the last one's output.

    Where the step's number is not the trunk's, `cast_in` and `cast_out` stand at the two borders. TensorRT is strongly
    typed and takes every number as the graph has it: nothing of the trunk may lie between them.

    Raises:
        UsageError: a weight is beyond the largest value of the step's number.
    """
    number = graph.conditioner(path)
    narrow = number != graph.trunk
    hidden = graph.cast(kept, number, name=f"{path}/coupling/cast_in") if narrow else kept
    hidden = graph.conv(hidden, net.conv1, name=f"{path}/coupling/conv1", number=number)
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu1")
    hidden = graph.conv(hidden, net.conv2, name=f"{path}/coupling/conv2", number=number)
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu2")
    params = graph.conv(hidden, net.conv3, name=f"{path}/coupling/conv3", number=number)
    return graph.cast(params, graph.trunk, name=f"{path}/coupling/cast_out") if narrow else params


def negate_second_half(conv: FoldedConv) -> FoldedConv:
    """Flip the sign of the second half of the outputs, where a following Exp wants the negative."""
    sign = np.ones(conv.bias.size)
    sign[conv.bias.size // 2 :] = -1.0
    return FoldedConv(weight=conv.weight * sign[:, None, None, None], bias=conv.bias * sign)
