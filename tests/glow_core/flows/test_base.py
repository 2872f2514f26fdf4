"""Every bijection can be run back from its output and forward again, with its graph."""

from __future__ import annotations

import pytest
import torch

from glow_core.flows import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    FixedPermutation,
    InvertibleConv1x1,
    InvertibleConv1x1LU,
    Squeeze,
)

BIJECTIONS = {
    "actnorm": lambda: ActNorm(4),
    "additive": lambda: AdditiveCoupling(4, width=6),
    "affine": lambda: AffineCoupling(4, width=6, bounded=False),
    "bounded": lambda: AffineCoupling(4, width=6, bounded=True, edge_bias=True),
    "lu": lambda: InvertibleConv1x1LU(4),
    "plain": lambda: InvertibleConv1x1(4),
    "reverse": lambda: FixedPermutation(4, kind="reverse"),
    "squeeze": Squeeze,
}


@pytest.mark.parametrize("kind", BIJECTIONS)
def test_retracing_finds_the_input_and_its_gradients(kind: str) -> None:
    torch.manual_seed(0)
    layer: Bijection = BIJECTIONS[kind]().double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(3, 4, 2, 6, dtype=torch.float64, requires_grad=True)
    y, log_det = layer.encode(x)
    again = layer.retrace(y.detach())
    assert torch.allclose(torch.cat(again.inputs, dim=1), x, rtol=1e-10, atol=1e-12)
    assert torch.allclose(again.y, y, rtol=1e-10, atol=1e-12)
    assert torch.allclose(again.log_det, log_det, rtol=1e-10)
    weights = torch.randn_like(y)
    (expected,) = torch.autograd.grad((y * weights).sum() + log_det.sum(), x)
    found = torch.autograd.grad((again.y * weights).sum() + again.log_det.sum(), again.inputs)
    assert torch.allclose(torch.cat(found, dim=1), expected, rtol=1e-9, atol=1e-11)
