"""What the encoder and the decoder graph have in common."""

from __future__ import annotations

import numpy as np

from ..folding import FoldedConditioner, FoldedConv
from .builder import GraphBuilder

__all__ = ["conditioner", "negate_second_half"]


def conditioner(graph: GraphBuilder, kept: str, net: FoldedConditioner, *, path: str) -> str:
    """Add conv3x3, ReLU, conv1x1, ReLU, conv3x3 under `<path>/coupling/` and return the last one's output."""
    hidden = graph.conv(kept, net.conv1, name=f"{path}/coupling/conv1")
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu1")
    hidden = graph.conv(hidden, net.conv2, name=f"{path}/coupling/conv2")
    hidden = graph.node("Relu", [hidden], name=f"{path}/coupling/relu2")
    return graph.conv(hidden, net.conv3, name=f"{path}/coupling/conv3")


def negate_second_half(conv: FoldedConv) -> FoldedConv:
    """Flip the sign of the second half of the outputs, where a following Exp wants the negative."""
    sign = np.ones(conv.bias.size)
    sign[conv.bias.size // 2 :] = -1.0
    return FoldedConv(weight=conv.weight * sign[:, None, None, None], bias=conv.bias * sign)
