"""What the encoder and the decoder graph have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.errors import UsageError
from glow_deploy.folding import FoldedConditioner, FoldedConv, FoldedGlow
from glow_deploy.folding.arrays import edge_index

from .builder import GraphBuilder
from .precision_plan import ElementType, PrecisionPlan

__all__ = ["check_plan", "conditioner", "edged_conv", "negate_second_half"]


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


def conditioner(graph: GraphBuilder, kept: str, net: FoldedConditioner, *, path: str, size: tuple[int, int]) -> str:
    """Add conv3x3, ReLU, conv1x1, ReLU, conv3x3 under `<path>/coupling/` and return what the last one gives.

    Where the step's number is not the trunk's, `cast_in` and `cast_out` stand at the two borders. TensorRT is strongly
    typed and takes every number as the graph has it: nothing of the trunk may lie between them.

    Args:
        graph: to add to.
        kept: the half that the conditioner reads.
        net: its weights.
        path: of the step.
        size: (H, W) inside the level.

    Raises:
        UsageError: a weight is beyond the largest value of the step's number.
    """
    number = graph.conditioner_type(path)
    narrow = number != graph.trunk
    hidden = graph.cast(kept, number, name=f"{path}/coupling/cast_in") if narrow else kept
    hidden = edged_conv(graph, hidden, net.conv1, name=f"{path}/coupling/conv1", size=size, number=number)
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu1")
    hidden = graph.conv(hidden, net.conv2, name=f"{path}/coupling/conv2", number=number)
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu2")
    params = edged_conv(graph, hidden, net.conv3, name=f"{path}/coupling/conv3", size=size, number=number)
    return graph.cast(params, graph.trunk, name=f"{path}/coupling/cast_out") if narrow else params


def edged_conv(
    graph: GraphBuilder,
    tensor: str,
    conv: FoldedConv,
    *,
    name: str,
    size: tuple[int, int],
    number: ElementType | None = None,
    group: int = 1,
) -> str:
    """Add a convolution and, if it has one, its edge; return the sum.

    The edge is stored as its border table with the other sign, `<name>/minus_edge` [1,out,min(H,3),min(W,3)], and
    subtracted: spread over the image it would be larger than the convolution's weight in many a level. Every runtime
    spreads it once, when it loads the graph. It has the convolution's own number, as the bias has, conv3's too: so
    nothing of the trunk stands inside a conditioner, and what is simulated is one rule, the sum rounded where the
    convolution's result is.

    Args:
        graph: to add to.
        tensor: the convolution's input.
        conv: its weights.
        name: of its node.
        size: (H, W) of the image.
        number: the trunk's unless given.
        group: in how many parts inputs and outputs are taken.

    Raises:
        UsageError: a weight is beyond the largest of `number`.
    """
    result = graph.conv(tensor, conv, name=name, number=number, group=group)
    if conv.edge is None:
        return result
    # Subtracted with the other sign, which gives the same bits: ONNX Runtime's CUDA provider makes Conv, Add and Relu
    # one node without a look at the shapes, and where cuDNN has no kernel for that falls back to one that allows TF32.
    # Stored so, for its CPU provider has no Neg of 16-bit numbers and would say that it cannot fold one.
    edge = graph.constant(f"{name}/minus_edge", -conv.edge[None], number=number)
    for axis, side, part in ((2, size[0], "rows"), (3, size[1], "columns")):
        if side > conv.edge.shape[axis - 1]:
            index = graph.constant(f"constants/edge_index/{side}", edge_index(side))
            edge = graph.node("Gather", [edge, index], name=f"{name}/minus_edge/{part}", axis=axis)
    return graph.node("Sub", [result, edge], name=f"{name}/add_edge")


def negate_second_half(conv: FoldedConv) -> FoldedConv:
    """Flip the sign of the second half of the outputs, where a following Exp wants the negative."""
    sign = np.ones(conv.bias.size)
    sign[conv.bias.size // 2 :] = -1.0
    edge = None if conv.edge is None else conv.edge * sign[:, None, None]
    return replace(conv, weight=conv.weight * sign[:, None, None, None], bias=conv.bias * sign, edge=edge)
