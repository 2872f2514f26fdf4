"""The network inside a coupling, and the zero-initialised convolution that ends it (Glow, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .edge import edge_map

__all__ = ["Conditioner", "ZeroConv2d"]

_HIDDEN_STD = 0.05  # the paper's code draws the hidden weights from N(0, 0.05^2)


def _in_float64_on_cpu(x: Tensor) -> bool:
    """Torch's own float64 convolutions go image by image, 3x3 ones by way of a ninefold copy; products are faster."""
    return x.dtype == torch.float64 and x.device.type == "cpu"


def _widened(weight: Tensor, x: Tensor) -> Tensor:
    """The weight in the input's dtype: a float64 reference may hold the convolutions' float32 weights as they are."""
    return weight.to(x.dtype)


def _product(weight: Tensor, x: Tensor) -> Tensor:
    """[out,in] times every pixel of [N,in,H,W], as one matrix product over the whole batch."""
    batch, channels, height, width = x.shape
    columns = x.transpose(0, 1).reshape(channels, -1)
    return (weight @ columns).reshape(-1, batch, height, width).transpose(0, 1)


def _conv1x1(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve [N,in,H,W] with [out,in,1,1]."""
    return _product(weight[:, :, 0, 0], x) if _in_float64_on_cpu(x) else F.conv2d(x, weight)


def _conv3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve [N,in,H,W] with [out,in,3,3], zero padded.

    With many channels in and few out, all nine positions are one product, whose small results are shifted and added.
    """
    out, channels = weight.shape[:2]
    if not _in_float64_on_cpu(x) or out > channels:
        return F.conv2d(x, weight, bias, padding=1)
    batch, _, height, width = x.shape
    taps = _product(weight.permute(2, 3, 0, 1).reshape(9 * out, channels), x)
    taps = F.pad(taps.reshape(batch, 3, 3, out, height, width), (1, 1, 1, 1))
    return sum(
        (taps[:, i, j, :, i : i + height, j : j + width] for i in range(3) for j in range(3)),
        start=bias[None, :, None, None],
    )


def _with_edge(y: Tensor, edge: Tensor | None) -> Tensor:
    """Add what the border gives to a 3x3 convolution's result [N,out,H,W]."""
    return y if edge is None else y + edge_map(_widened(edge, y), y.shape[2], y.shape[3])


def _zero_edge(out_channels: int, *, wanted: bool) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(out_channels, 3, 3)) if wanted else None


class ZeroConv2d(nn.Module):
    """3x3 convolution that starts at zero, with outputs scaled by exp(3 * log_scale) per channel.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        edge_bias: it also sees where the image ends (`edge_map`).
    """

    def __init__(self, in_channels: int, out_channels: int, *, edge_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.log_scale = nn.Parameter(torch.zeros(out_channels))
        self.edge = _zero_edge(out_channels, wanted=edge_bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W], zero padded."""
        y = _with_edge(_conv3x3(x, _widened(self.weight, x), self.bias), self.edge)
        return y * torch.exp(3 * self.log_scale)[None, :, None, None]


class Conditioner(nn.Module):
    """3x3, ReLU, 1x1, ReLU, 3x3, with actnorm after the hidden convolutions and the last one at zero.

    A new coupling therefore starts as a map that does not depend on its input, which helps very deep models train.

    Args:
        in_channels: of the half that passes through unchanged.
        out_channels: shift, or shift and scale, for the other half.
        width: hidden channels.
        edge_bias: the 3x3 convolutions also see where the image ends (`edge_map`).
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, edge_bias: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.edge1 = _zero_edge(width, wanted=edge_bias)
        self.norm1 = ActNorm(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.norm2 = ActNorm(width)
        self.conv3 = ZeroConv2d(width, out_channels, edge_bias=edge_bias)
        # A module on the meta device only describes; drawing there would import torch's compiler, for seconds.
        if not self.conv1.weight.is_meta:
            nn.init.normal_(self.conv1.weight, std=_HIDDEN_STD)
            nn.init.normal_(self.conv2.weight, std=_HIDDEN_STD)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H,W]."""
        hidden = F.conv2d(x, _widened(self.conv1.weight, x), padding=1)
        hidden = F.relu(self.norm1(_with_edge(hidden, self.edge1)))
        hidden = F.relu(self.norm2(_conv1x1(hidden, _widened(self.conv2.weight, hidden))))
        result: Tensor = self.conv3(hidden)
        return result
