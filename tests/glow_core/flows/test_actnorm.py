from __future__ import annotations

import math

import pytest
import torch

from glow_core import Glow, GlowConfig
from glow_core.flows import ActNorm


def test_first_batch_is_normalised_by_every_actnorm():
    torch.manual_seed(0)
    glow = Glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=6)).double().train()
    x = 3 + 5 * torch.rand(64, 3, 8, 8, dtype=torch.float64)
    glow.encode(x)
    step = glow.flow_levels()[0].flow_steps()[0]
    h, _ = glow.flow_levels()[0].squeeze.encode(x - 0.5)
    y, _ = step.actnorm.encode(h)
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-10
    assert (y.var(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert glow.is_initialized


def test_evaluation_never_initialises_and_training_only_once():
    torch.manual_seed(0)
    glow = Glow(GlowConfig(image_size=(8, 8), levels=2, steps=1, width=6)).eval()
    glow.encode(torch.rand(4, 3, 8, 8))
    assert not glow.is_initialized
    glow.train().encode(torch.rand(4, 3, 8, 8))
    before = {name: value.clone() for name, value in glow.state_dict().items()}
    glow.encode(10 * torch.rand(4, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in glow.state_dict().items())


def test_a_channel_constant_over_the_first_batch_keeps_a_finite_scale():
    layer = ActNorm(2).double().train()
    x = torch.stack((torch.full((3, 4, 4), 7.0), torch.arange(48.0).reshape(3, 4, 4)), dim=1).double()
    y, log_det = layer.encode(x)
    assert y[:, 0].abs().max() == 0
    assert float(y[:, 1].detach().std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert float(layer.log_scale.detach()[0, 0]) == pytest.approx(math.log(1e6))
    assert float(log_det.detach()) == pytest.approx(16 * float(layer.log_scale.detach().sum()))
    assert torch.allclose(layer.decode(y), x)
