"""The network inside a coupling, and the zero-initialised convolution that ends it (Glow, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm

__all__ = ["Conditioner", "ZeroConv2d"]

_HIDDEN_STD = 0.05  # the paper's code draws the hidden weights from N(0, 0.05^2)


def _conv3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Zero-padded 3x3 convolution of [N,in,H,W] with [out,in,3,3].

    In float64 on the CPU torch unfolds every 3x3 neighbourhood into memory first. With many channels in and few out
    that is far slower than one matrix product for all nine positions, whose small results are then shifted and added.
    """
    if x.dtype != torch.float64 or x.device.type != "cpu" or weight.shape[0] > weight.shape[1]:
        return F.conv2d(x, weight, bias, padding=1)
    batch, _, height, width = x.shape
    out = weight.shape[0]
    taps = weight.permute(2, 3, 0, 1).reshape(9 * out, -1) @ x.flatten(2)
    taps = F.pad(taps.reshape(batch, 3, 3, out, height, width), (1, 1, 1, 1))
    return sum(
        (taps[:, i, j, :, i : i + height, j : j + width] for i in range(3) for j in range(3)),
        start=bias[None, :, None, None],
    )


class ZeroConv2d(nn.Module):
    """3x3 convolution that starts at zero, with outputs scaled by exp(3 * log_scale) per channel.

    Args:
        in_channels: of the input.
        out_channels: of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.log_scale = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W], zero padded."""
        y = _conv3x3(x, self.weight, self.bias)
        return y * torch.exp(3 * self.log_scale)[None, :, None, None]


class Conditioner(nn.Module):
    """3x3, ReLU, 1x1, ReLU, 3x3, with actnorm after the hidden convolutions and the last one at zero.

    A new coupling therefore starts as a map that does not depend on its input, which helps very deep models train.

    Args:
        in_channels: of the half that passes through unchanged.
        out_channels: shift, or shift and scale, for the other half.
        width: hidden channels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm1 = ActNorm(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.norm2 = ActNorm(width)
        self.conv3 = ZeroConv2d(width, out_channels)
        # A module on the meta device only describes; drawing there would import torch's compiler, for seconds.
        if not self.conv1.weight.is_meta:
            nn.init.normal_(self.conv1.weight, std=_HIDDEN_STD)
            nn.init.normal_(self.conv2.weight, std=_HIDDEN_STD)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W]."""
        hidden = F.relu(self.norm1(self.conv1(x)))
        hidden = F.relu(self.norm2(self.conv2(hidden)))
        result: Tensor = self.conv3(hidden)
        return result
