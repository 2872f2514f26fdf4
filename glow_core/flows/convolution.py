"""The convolutions of a conditioner: PyTorch's own, and faster ways for the float64 reference on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .edge import edge_map

__all__ = ["conv1x1", "conv3x3", "with_edge", "zero_edge"]


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


def conv1x1(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve [N,in,H,W] with [out,in,1,1], in the dtype of `x`."""
    weight = _widened(weight, x)
    return _product(weight[:, :, 0, 0], x) if _in_float64_on_cpu(x) else F.conv2d(x, weight)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve [N,in,H,W] with [out,in,3,3], zero padded, in the dtype of `x`.

    With many channels in and few out, all nine positions are one product, whose small results are shifted and added.
    """
    weight = _widened(weight, x)
    out, channels = weight.shape[:2]
    if bias is None or not _in_float64_on_cpu(x) or out > channels:
        return F.conv2d(x, weight, bias, padding=1)
    batch, _, height, width = x.shape
    taps = _product(weight.permute(2, 3, 0, 1).reshape(9 * out, channels), x)
    taps = F.pad(taps.reshape(batch, 3, 3, out, height, width), (1, 1, 1, 1))
    return sum(
        (taps[:, i, j, :, i : i + height, j : j + width] for i in range(3) for j in range(3)),
        start=bias[None, :, None, None],
    )


def with_edge(y: Tensor, edge: Tensor | None) -> Tensor:
    """Add what the border gives to a 3x3 convolution's result [N,out,H,W]."""
    return y if edge is None else y + edge_map(_widened(edge, y), y.shape[2], y.shape[3])


def zero_edge(out_channels: int, *, wanted: bool) -> nn.Parameter | None:
    """The border values of a new convolution, which start at zero; None where none are wanted."""
    return nn.Parameter(torch.zeros(out_channels, 3, 3, dtype=torch.float32)) if wanted else None
