"""Three convolutions as matrix products: what torch's own convolutions give, and their gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from glow_core.flows.perceptron import Layer, perceptron

SIZES = [(3, 4, 7, (2, 4, 6)), (5, 2, 6, (1, 3, 3)), (1, 2, 3, (3, 1, 1))]


def _case(inputs: int, outputs: int, width: int, *, ring: bool) -> tuple[Layer, Layer, Layer]:
    generator = torch.Generator().manual_seed(inputs)

    def layer(out: int, channels: int, side: int) -> Layer:
        parts = [(out, channels, side, side), (out,), (out,)]
        return Layer(
            *(
                torch.randn(shape, dtype=torch.float64, generator=generator).mul_(0.5).requires_grad_()
                for shape in parts
            )
        )

    return layer(width, inputs + ring, 3), layer(width, width, 1), layer(outputs, width, 3)


def _by_convolutions(x: torch.Tensor, layers: tuple[Layer, Layer, Layer], *, ring: bool) -> torch.Tensor:
    first, second, last = layers
    inside = F.pad(x, (1, 1, 1, 1))
    if ring:
        border = F.pad(torch.zeros_like(x[:, :1]), (1, 1, 1, 1), value=1.0)
        inside = torch.cat((inside, border), dim=1)
    h = F.conv2d(inside, first.weight, first.bias) * first.scale[:, None, None]
    h = F.conv2d(F.relu(h), second.weight, second.bias) * second.scale[:, None, None]
    return F.conv2d(F.relu(h), last.weight, last.bias, padding=1) * last.scale[:, None, None]


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize(("inputs", "outputs", "width", "size"), SIZES)
def test_result_and_gradients_are_those_of_convolutions(
    inputs: int, outputs: int, width: int, size: tuple[int, int, int], ring: bool
) -> None:
    layers = _case(inputs, outputs, width, ring=ring)
    batch, *sides = size
    x = torch.randn(batch, inputs, *sides, dtype=torch.float64, requires_grad=True)
    wanted = [x, *(part for layer in layers for part in layer)]
    expected = _by_convolutions(x, layers, ring=ring)
    found = perceptron(x, layers, ring=ring, arithmetic=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-11, atol=1e-12)
    weights = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, wanted, weights), torch.autograd.grad(expected, wanted, weights), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-11)
    assert torch.equal(perceptron(x.detach(), layers, ring=ring, arithmetic=torch.float64), found)


def test_only_what_is_asked_for_gets_a_gradient_and_gradients_have_gradients() -> None:
    layers = _case(3, 4, 7, ring=False)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    frozen = tuple(Layer(*(part.detach() for part in layer)) for layer in layers)

    def ours(x: torch.Tensor) -> torch.Tensor:
        return perceptron(x, frozen, ring=False, arithmetic=torch.float64)

    ours(x).square().sum().backward()
    assert x.grad is not None
    assert all(part.grad is None for layer in layers for part in layer)
    assert torch.autograd.gradgradcheck(ours, x)


def test_sixteen_bit_products_are_near_and_not_the_same() -> None:
    layers = tuple(Layer(*(part.detach().float() for part in layer)) for layer in _case(3, 4, 64, ring=False))
    x = torch.randn(2, 3, 8, 8)
    exact, coarse = (perceptron(x, layers, ring=False, arithmetic=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert coarse.dtype == torch.float32
    off = float((coarse - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    assert 1e-4 < off < 2e-2
