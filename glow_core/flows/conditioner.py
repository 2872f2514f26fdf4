"""The network inside a coupling, and the zero-initialised convolution that ends it (Glow, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .convolution import conv1x1, conv3x3, with_edge, zero_edge

__all__ = ["Conditioner", "ZeroConv2d"]

_HIDDEN_STD = 0.05  # the paper's code draws the hidden weights from N(0, 0.05^2)


class ZeroConv2d(nn.Module):
    """3x3 convolution that starts at zero, with outputs scaled by exp(3 * log_scale) per channel.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        edge_bias: it also sees where the image ends (`edge_map`).
    """

    def __init__(self, in_channels: int, out_channels: int, *, edge_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(out_channels, dtype=torch.float32))
        self.log_scale = nn.Parameter(torch.zeros(out_channels, dtype=torch.float32))
        self.edge = zero_edge(out_channels, wanted=edge_bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W], zero padded."""
        y = with_edge(conv3x3(x, self.weight, self.bias), self.edge)
        return y * torch.exp(3 * self.log_scale)[None, :, None, None]


class Conditioner(nn.Module):
    """3x3, ReLU, 1x1, ReLU, 3x3, with actnorm after the hidden convolutions and the last one at zero.

    A new coupling therefore starts as a map that does not depend on its input, which helps very deep models train.

    Args:
        in_channels: of the half that passes through unchanged.
        out_channels: shift, or shift and scale, for the other half.
        width: hidden channels.
        edge_bias: the 3x3 convolutions also see where the image ends (`edge_map`).

    Attributes:
        computes: what it does to an input in training that knows of rounding; None: what is described here.
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, edge_bias: bool = False) -> None:
        super().__init__()
        self.computes: Callable[[Conditioner, Tensor], Tensor] | None = None
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False, dtype=torch.float32)
        self.edge1 = zero_edge(width, wanted=edge_bias)
        self.norm1 = ActNorm(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False, dtype=torch.float32)
        self.norm2 = ActNorm(width)
        self.conv3 = ZeroConv2d(width, out_channels, edge_bias=edge_bias)
        # A module on the meta device only describes; drawing there would import torch's compiler, for seconds.
        if not self.conv1.weight.is_meta:
            nn.init.normal_(self.conv1.weight, std=_HIDDEN_STD)
            nn.init.normal_(self.conv2.weight, std=_HIDDEN_STD)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W]."""
        if self.computes is not None:
            return self.computes(self, x)
        hidden = F.relu(self.norm1(with_edge(conv3x3(x, self.conv1.weight), self.edge1)))
        hidden = F.relu(self.norm2(conv1x1(hidden, self.conv2.weight)))
        result: Tensor = self.conv3(hidden)
        return result
