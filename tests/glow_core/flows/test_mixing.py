"""Actnorm and 1x1 convolution in one are what they are one after the other."""

from __future__ import annotations

import pytest
import torch

from glow_core.flows import ActNorm, InvertibleConv1x1, InvertibleConv1x1LU, Mixing


@pytest.mark.parametrize("kind", [InvertibleConv1x1, InvertibleConv1x1LU])
def test_folding_changes_no_number(kind: type[InvertibleConv1x1] | type[InvertibleConv1x1LU]) -> None:
    torch.manual_seed(0)
    actnorm, permutation = ActNorm(6).double().train(), kind(6).double()
    mixing = Mixing(actnorm, permutation)
    x = 3 + torch.randn(4, 6, 2, 5, dtype=torch.float64)
    assert not actnorm.initialized
    mixing.encode(x)
    assert actnorm.initialized
    with torch.no_grad():
        for parameter in mixing.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    y, log_det = mixing.encode(x)
    apart, log_det1 = actnorm.encode(x)
    apart, log_det2 = permutation.encode(apart)
    assert torch.allclose(y, apart, rtol=1e-12, atol=1e-12)
    assert torch.allclose(log_det, log_det1 + log_det2, rtol=1e-12)
    assert torch.allclose(mixing.decode(y), x, rtol=1e-11)
    assert torch.allclose(actnorm.decode(permutation.decode(y)), x, rtol=1e-11)
    again = mixing.retrace(y.detach())
    assert torch.allclose(again.inputs[0], x, rtol=1e-11)
    assert torch.allclose(again.log_det, log_det, rtol=1e-12)
