from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from glow_core.errors import ConfigError
from glow_core.flows import IndependentPrior, Split
from glow_core.flows.conditioner import ZeroConv2d


def _split(prior: torch.nn.Module) -> Split:
    generator = torch.Generator().manual_seed(0)
    for parameter in prior.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 4
    return Split(prior).double()


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_half_that_stays_says_where_the_other_lies() -> None:
    split, x = _split(ZeroConv2d(2, 4)), _normal(3, 4, 4, 4)
    x1, z, log_prob = split.encode(x)
    assert torch.equal(x1, x[:, :2])
    mean, log_scale = split.prior(x1).chunk(2, dim=1)
    assert float(log_scale.detach().std()) > 0.01
    assert torch.allclose(log_prob, Normal(mean, log_scale.exp()).log_prob(x[:, 2:]).sum(dim=(1, 2, 3)))
    assert torch.allclose(split.decode(x1, z), x)


def test_an_independent_prior_does_not_look_at_the_half_that_stays() -> None:
    split, x, y = _split(IndependentPrior((2, 4, 4), num_classes=3)), _normal(3, 4, 4, 4), torch.tensor([2, 0, 1])
    x1, z, log_prob = split.encode(x, y)
    other = split.encode(torch.cat((x1 + 1, x[:, 2:]), dim=1), y)
    assert torch.equal(other[1], z)
    assert torch.equal(other[2], log_prob)
    assert torch.allclose(split.decode(x1, z, y), x)
    assert not torch.allclose(split.decode(x1, z, y.flip(0)), x)
    with pytest.raises(ConfigError, match="needs class labels"):
        split.encode(x)
