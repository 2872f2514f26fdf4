"""The network inside a coupling, and the zero-initialised convolution that ends it (Glow, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .convolution import conv1x1, conv3x3, with_edge, zero_edge
from .edge import edge_map
from .perceptron import Layer, perceptron

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
        return self.finish(conv3x3(x, self.weight, self.bias))

    def finish(self, y: Tensor) -> Tensor:
        """Add the edge to the convolution's result, bias included, and scale it."""
        return with_edge(y, self.edge) * torch.exp(3 * self.log_scale)[None, :, None, None]


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
        arithmetic: dtype of the convolutions; None, as in every new one: that of the input. What comes in and goes out
            has the dtype of the input in any case.
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, edge_bias: bool = False) -> None:
        super().__init__()
        self.computes: Callable[[Conditioner, Tensor], Tensor] | None = None
        self.arithmetic: torch.dtype | None = None
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
        starting = self.training and not (self.norm1.initialized and self.norm2.initialized)
        if x.device.type == "cpu" and len(x) and not starting:
            return self._by_products(x)
        return self.by_convolutions(x, arithmetic=None if starting else self.arithmetic)

    def by_convolutions(self, x: Tensor, *, arithmetic: torch.dtype | None) -> Tensor:
        """Compute by torch's convolutions, as on a GPU: [N,in,H,W] -> [N,out,H,W]."""
        low = arithmetic or x.dtype
        hidden = conv3x3(x.to(low), self.conv1.weight).to(x.dtype)
        hidden = F.relu(self.norm1(with_edge(hidden, self.edge1)))
        hidden = F.relu(self.norm2(conv1x1(hidden.to(low), self.conv2.weight).to(x.dtype)))
        if arithmetic is None:
            result: Tensor = self.conv3(hidden)
            return result
        y = conv3x3(hidden.to(low), self.conv3.weight).to(x.dtype)
        return self.conv3.finish(y + self.conv3.bias[:, None, None])

    def _by_products(self, x: Tensor) -> Tensor:
        """The same in another order: scales are folded into the weights, and each convolution is a matrix product."""
        weight1, scale3 = self.conv1.weight, torch.exp(3 * self.conv3.log_scale)
        if self.edge1 is not None:
            weight1 = torch.cat((weight1, self.edge1[:, None]), dim=1)
        layers = (
            Layer(weight1, self.norm1.bias.view(-1), torch.exp(self.norm1.log_scale).view(-1)),
            Layer(self.conv2.weight, self.norm2.bias.view(-1), torch.exp(self.norm2.log_scale).view(-1)),
            Layer(self.conv3.weight, self.conv3.bias, scale3),
        )
        # A float64 reference may hold the float32 weights as they are.
        first, second, last = (Layer(*(part.to(x.dtype) for part in layer)) for layer in layers)
        told = perceptron(x, (first, second, last), ring=self.edge1 is not None, arithmetic=self.arithmetic or x.dtype)
        if self.conv3.edge is None:
            return told
        edge = self.conv3.edge.to(x.dtype) * last.scale[:, None, None]
        return told + edge_map(edge, x.shape[2], x.shape[3])
