"""The conditioner's three convolutions on a CPU: matrix products with a backward pass of their own.

Autograd would go through the large hidden activations once for every operation, forwards and backwards. Here actnorms
and scales are folded into the small weights first, ReLUs work in place, and of the hidden activations only what the
products need is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .rows import from_rows, gathered, neighbours

__all__ = ["Layer", "perceptron"]


class Layer(NamedTuple):
    """A convolution and what follows it: scale * (weight * x + bias).

    Attributes:
        weight: [out,in,k,k].
        bias: [out].
        scale: [out].
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor


_Three = tuple[Layer, Layer, Layer]


def perceptron(x: Tensor, layers: _Three, *, ring: bool, arithmetic: torch.dtype) -> Tensor:
    """3x3, ReLU, 1x1, ReLU, 3x3 of [N,C,H,W] on a CPU, zero padded; N is not 0.

    Gradients of gradients are those of torch's own convolutions.

    Args:
        x: in any memory format.
        layers: in the dtype of x.
        ring: the first one has an input channel more, the last, which is 1 outside the image and 0 inside.
        arithmetic: dtype of the products, and of what is kept for the backward pass. Weights are folded, their
            gradients scaled, and the nine products of the last convolution summed in the dtype of x.

    Returns:
        [N,out,H,W] in the dtype of x, channels last.
    """
    tensors = [part for layer in layers for part in layer]
    rows: Tensor = _Perceptron.apply(x, arithmetic, int(ring), *tensors)  # type: ignore[no-untyped-call]
    return from_rows(rows, _size(x))  # a view that autograd knows, so that it can be changed in place


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, arithmetic: torch.dtype, ring: int, *tensors: Tensor) -> Tensor:
        first, second, last = _layers(tensors)
        places = neighbours(x.to(arithmetic), ring=bool(ring))
        hidden1 = _hidden(places, _folded_first(first), first, arithmetic)
        hidden2 = _hidden(hidden1, _folded_second(second), second, arithmetic)
        said = hidden2 @ _folded_last(last).to(arithmetic).T
        ctx.ring, ctx.arithmetic = ring, arithmetic
        kept = (places, hidden1, hidden2) if any(ctx.needs_input_grad) else ()
        ctx.save_for_backward(x, *tensors, *kept)
        return gathered(said.to(x.dtype), _size(x)).add_(last.bias * last.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors, places, hidden1, hidden2 = ctx.saved_tensors
        (of_rows,), needed = gradients, (ctx.needs_input_grad[0], *ctx.needs_input_grad[3:])
        gradient = from_rows(of_rows, _size(x))
        if torch.is_grad_enabled():  # as with create_graph=True
            of_x, *of_tensors = _differentiable(x, tensors, gradient, ring=bool(ctx.ring), needed=needed)
            return of_x, None, None, *of_tensors
        first, second, last = _layers(tensors)
        arithmetic, wide = ctx.arithmetic, x.dtype
        of_said = neighbours(gradient.to(arithmetic))
        of_hidden2 = _through_relu(of_said @ _folded_last(last).to(arithmetic), hidden2)
        of_hidden1 = _through_relu(of_hidden2 @ _folded_second(second).to(arithmetic), hidden1)
        of_x = None
        if needed[0]:
            inside = first._replace(weight=first.weight[:, : x.shape[1]])
            of_places = of_hidden1 @ _folded_first(inside).to(arithmetic)
            of_x = from_rows(gathered(of_places.to(wide), _size(x)), _size(x))
        if not any(needed[1:]):
            return of_x, None, None, *(None for _ in tensors)
        kernel1 = (of_hidden1.T @ places).to(wide).view(len(first.scale), 3, 3, -1).permute(0, 3, 1, 2)
        kernel2 = (of_hidden2.T @ hidden1).to(wide)[:, :, None, None]
        kernel3 = (of_said.T @ hidden2).to(wide).view(3, 3, len(last.scale), -1).flip(0, 1).permute(2, 3, 0, 1)
        return (
            *(of_x, None, None),
            *_unfolded(kernel1, of_hidden1.sum(0, dtype=wide), first),
            *_unfolded(kernel2, of_hidden2.sum(0, dtype=wide), second),
            *_unfolded(kernel3, of_rows.sum(0), last),
        )


def _layers(tensors: Sequence[Tensor]) -> _Three:
    return Layer(*tensors[:3]), Layer(*tensors[3:6]), Layer(*tensors[6:])


def _folded_first(layer: Layer) -> Tensor:
    """[out,9*in]: the places of the kernel slowest, as in `neighbours`."""
    return layer.weight.permute(0, 2, 3, 1).reshape(len(layer.scale), -1) * layer.scale[:, None]


def _folded_second(layer: Layer) -> Tensor:
    return layer.weight[:, :, 0, 0] * layer.scale[:, None]


def _folded_last(layer: Layer) -> Tensor:
    """[9*out,in]: what a pixel says of its neighbours, so that the kernel is turned round."""
    out, channels = layer.weight.shape[:2]
    scaled = layer.weight.new_empty(3, 3, out, channels)
    torch.mul(layer.weight.permute(2, 3, 0, 1), layer.scale[:, None], out=scaled)
    return scaled.flip(0, 1).reshape(9 * out, channels)


def _hidden(rows: Tensor, matrix: Tensor, layer: Layer, arithmetic: torch.dtype) -> Tensor:
    bias = (layer.bias * layer.scale).to(arithmetic)
    return torch.addmm(bias, rows, matrix.to(arithmetic).T).relu_()


def _size(x: Tensor) -> tuple[int, int, int]:
    """(N,H,W) of [N,C,H,W]."""
    return x.shape[0], x.shape[2], x.shape[3]


def _through_relu(gradient: Tensor, result: Tensor) -> Tensor:
    """Set the gradient to zero, in place, where the ReLU gave zero."""
    through: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, result, 0, grad_input=gradient)
    return through


def _unfolded(of_kernel: Tensor, of_bias: Tensor, layer: Layer) -> Layer:
    """Return the gradients of a layer's parts from those of its folded kernel [out,in,k,k] and bias [out]."""
    of_scale = (of_kernel * layer.weight).sum(dim=(1, 2, 3)) + of_bias * layer.bias
    return Layer(of_kernel * layer.scale[:, None, None, None], of_bias * layer.scale, of_scale)


def _differentiable(
    x: Tensor, tensors: Sequence[Tensor], gradient: Tensor, *, ring: bool, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of x and the layers with graphs of their own."""
    # Views, so that what led to x ends the way back: it may have come from these layers too.
    x, *tensors = (tensor.view_as(tensor) for tensor in (x, *tensors))
    first, second, last = _layers(tensors)
    h = F.pad(x, (1, 1, 1, 1))
    if ring:
        border = F.pad(x.new_zeros(len(x), 1, *x.shape[2:]), (1, 1, 1, 1), value=1.0)
        h = torch.cat((h, border), dim=1)
    for layer, padding in ((first, 0), (second, 0), (last, 1)):
        h = F.conv2d(h, layer.weight, layer.bias, padding=padding) * layer.scale[:, None, None]
        h = h if layer is last else F.relu(h)
    wanted = [tensor for tensor, need in zip((x, *tensors), needed, strict=True) if need]
    found = iter(torch.autograd.grad(h, wanted, gradient, create_graph=True))
    return [next(found) if need else None for need in needed]
