"""Training with the roundings of exact graphs in the forward pass, so that the weights learn to bear them.

Gradients pass through a rounding as if it were not there (straight-through: Bengio et al. 2013, arXiv:1308.3432).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from glow_core.flows.conditioner import Conditioner
from glow_core.flows.convolution import conv1x1, conv3x3, with_edge
from glow_core.flows.coupling import AdditiveCoupling
from glow_core.model import Glow
from glow_core.rounding import ACTIVATION_HEADROOM, CONDITIONER_BITS, INPUT_BITS, LEAST_ACTIVATION

__all__ = ["round_conditioners", "rounded_conditioner"]


def round_conditioners(model: Glow) -> None:
    """Have the conditioners of an initialised additive model compute with rounded weights and activations."""
    for module in model.modules():
        if isinstance(module, AdditiveCoupling):
            module.conditioner.computes = rounded_conditioner


def rounded_conditioner(net: Conditioner, x: Tensor) -> Tensor:
    """Compute what a conditioner of an exact graph does, [N,in,H,W] -> [N,out,H,W].

    Ranges are those of the batch in hand, where an export takes them from its calibration images. Steps of the input
    and of the result are powers of two, where an exact graph's are multiples of a spacing of its own.
    """
    largest = 2**CONDITIONER_BITS - 1
    scale1, scale2 = (torch.exp(norm.log_scale).flatten() for norm in (net.norm1, net.norm2))
    weight1 = net.conv1.weight * scale1[:, None, None, None]
    weight2 = net.conv2.weight * scale2[:, None, None, None]
    weight3 = net.conv3.weight * torch.exp(3 * net.conv3.log_scale)[:, None, None, None]
    edge1 = None if net.edge1 is None else net.edge1 * scale1[:, None, None]
    bias1, bias2 = net.norm1.bias * torch.exp(net.norm1.log_scale), net.norm2.bias * torch.exp(net.norm2.log_scale)
    edge3 = None if net.conv3.edge is None else net.conv3.edge * torch.exp(3 * net.conv3.log_scale)[:, None, None]
    bias3 = net.conv3.bias * torch.exp(3 * net.conv3.log_scale)
    with torch.no_grad():
        input_step = _power_of_two(x.abs().max() / (2**INPUT_BITS - 1))
        hidden1 = F.relu(with_edge(conv3x3(x, weight1), edge1) + bias1)
        hidden2 = F.relu(conv1x1(hidden1, weight2) + bias2)
        step1, step2 = (_steps(hidden, largest) for hidden in (hidden1, hidden2))
        ones = torch.ones_like(weight3[:, 0, 0, 0])
        grid1 = _grid(weight1, input_step.expand(x.shape[1]), step1)
        grid2 = _grid(weight2, step1, step2)
        grid3 = _grid(weight3, step2, ones)
    read = _rounded(x, input_step)
    hidden = with_edge(conv3x3(read, _rounded(weight1, grid1)), edge1) + bias1
    hidden = _activation(hidden, step1, largest)
    hidden = _activation(conv1x1(hidden, _rounded(weight2, grid2)) + bias2, step2, largest)
    return with_edge(conv3x3(hidden, _rounded(weight3, grid3), bias3), edge3)


def _rounded(values: Tensor, step: Tensor) -> Tensor:
    """The nearest multiples of `step`, with the gradient of the values themselves."""
    return values + (torch.round(values / step) * step - values).detach()


def _activation(sums: Tensor, step: Tensor, largest: int) -> Tensor:
    """Clip to 0 .. `largest` steps of each channel, and round."""
    steps = step[:, None, None]
    return _rounded(torch.minimum(F.relu(sums), largest * steps), steps)


def _steps(hidden: Tensor, largest: int) -> Tensor:
    """The step of each channel's activations, [C]."""
    top = hidden.amax(dim=(0, 2, 3))
    usual = top[top > 0].median() if bool((top > 0).any()) else torch.ones_like(top[0])
    return ACTIVATION_HEADROOM * torch.maximum(top, LEAST_ACTIVATION * usual) / largest


def _grid(weight: Tensor, steps: Tensor, out: Tensor) -> Tensor:
    """The step of each weight: the input's and the output's steps and a power of two of the output channel."""
    unit = out[:, None, None, None] / steps[None, :, None, None]
    peak = (weight / unit).abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
    return unit * _power_of_two(peak / 2**CONDITIONER_BITS)


def _power_of_two(value: Tensor) -> Tensor:
    """The least power of two that is not smaller."""
    return torch.exp2(torch.ceil(torch.log2(value.clamp(min=1e-30))))
