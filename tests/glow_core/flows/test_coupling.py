from __future__ import annotations

import pytest
import torch

from glow_core import Glow, GlowConfig
from glow_core.flows import AdditiveCoupling, AffineCoupling


def test_new_couplings_do_not_depend_on_their_input():
    torch.manual_seed(0)
    glow = Glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=6))
    coupling = glow.flow_levels()[0].flow_steps()[0].coupling
    assert torch.count_nonzero(coupling.conditioner(torch.rand(2, 6, 4, 4))) == 0


def test_bounded_scale_keeps_the_inverse_within_two(perturbed_glow):
    """With saturated conditioners a bounded decode stretches by at most 2; an unbounded one far more."""
    stretch = {}
    for bounded in (True, False):
        config = GlowConfig(image_size=(4, 4), channels=1, levels=1, steps=1, width=6, bounded_scale=bounded)
        coupling = perturbed_glow(config).double().flow_levels()[0].flow_steps()[0].coupling
        coupling.conditioner.conv3.bias.data[2:] = -30.0  # h of a [t, h] pair
        y = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
        moved = y.clone()
        moved[:, 2:] += 1.0
        stretch[bounded] = float((coupling.decode(moved) - coupling.decode(y)).detach().abs().max())
    assert stretch[True] <= 2.0 + 1e-9
    assert stretch[False] > 1e6


def test_only_the_border_knows_of_an_edge(perturbed_glow):
    """With nothing but the edge of one convolution moved, the centre of a coupling's output stays."""
    config = GlowConfig(image_size=(16, 16), channels=1, levels=1, steps=1, width=6, edge_bias=True)
    coupling = perturbed_glow(config).double().flow_levels()[0].flow_steps()[0].coupling
    x = torch.rand(1, 4, 8, 8, dtype=torch.float64)
    before, _ = coupling.encode(x)
    coupling.conditioner.conv3.edge.data += 0.5
    moved = (coupling.encode(x)[0] - before).detach()[0, 2:].abs().amax(dim=0)
    assert float(moved[1:-1, 1:-1].max()) == 0
    border = torch.ones(8, 8, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert float(moved[border].min()) > 1e-3


@pytest.mark.parametrize("kind", ["additive", "affine", "bounded"])
def test_the_second_half_moves_by_the_formula_and_comes_back(kind):
    generator = torch.Generator().manual_seed(0)
    if kind == "additive":
        coupling = AdditiveCoupling(4, width=6)
    else:
        coupling = AffineCoupling(4, width=6, bounded=kind == "bounded")
    coupling = coupling.double().eval()
    for parameter in coupling.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3
    x = torch.randn(3, 4, 4, 4, generator=generator, dtype=torch.float64)
    y, log_det = coupling.encode(x)
    out = coupling.conditioner(x[:, :2])
    if kind == "additive":
        shift, scale = out, torch.ones_like(out)
    else:
        shift, scale = out[:, :2], torch.sigmoid(out[:, 2:] + 2)
        scale = (1 + scale) / 2 if kind == "bounded" else scale
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.allclose(y[:, 2:], (x[:, 2:] + shift) * scale)
    assert torch.allclose(log_det, scale.log().sum(dim=(1, 2, 3)))
    assert torch.allclose(coupling.decode(y), x)
