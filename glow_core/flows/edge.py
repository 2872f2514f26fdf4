"""The border as a channel: how 3x3 convolutions are told where the image ends."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["edge_map"]


def edge_map(edge: Tensor, height: int, width: int) -> Tensor:
    """Return what one more input channel adds to a 3x3 convolution, [1,out,H,W], in the dtype of `edge`.

    The channel is 1 in the padding, the ring of pixels around the image, and 0 inside, so that only the rows and
    columns along the border see it. The paper's code pads this way; one constant 1 for all channels is the same with
    their weights summed.

    Args:
        edge: weights of the channel [out,3,3].
        height: H of the image, at least 1.
        width: W, at least 1.
    """
    ring = F.pad(edge.new_zeros(1, 1, height, width), (1, 1, 1, 1), value=1.0)
    return F.conv2d(ring, edge[:, None])
