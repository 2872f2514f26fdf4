from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from glow_core import GlowConfig
from glow_core.errors import ConfigError
from glow_core.flows.prior import IndependentPrior, TopPrior, standard_normal_log_prob


def _moved(prior: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in prior.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return prior


def test_the_standard_normal_is_summed_over_all_but_the_batch() -> None:
    z = torch.tensor([[[[0.0, 1.0]]], [[[2.0, -2.0]]]], dtype=torch.float64)
    expected = [-math.log(2 * math.pi) - 0.5, -math.log(2 * math.pi) - 4]
    assert standard_normal_log_prob(z).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("make", ["top", "edge", "independent"])
def test_the_density_is_that_of_the_normal_and_decode_inverts(make: str, classes: int | None) -> None:
    prior = _moved(
        IndependentPrior((2, 4, 5), num_classes=classes)
        if make == "independent"
        else TopPrior(2, num_classes=classes, edge_bias=make == "edge")
    )
    x = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = None if classes is None else torch.tensor([2, 0, 1])
    mean, log_scale = prior.parameters_for(y) if make == "independent" else prior.parameters_for(y, size=(4, 5))
    z, log_prob = prior.encode(x, y)
    assert torch.allclose(log_prob, Normal(mean, log_scale.exp()).log_prob(x).sum(dim=(1, 2, 3)))
    assert torch.allclose(z, (x - mean) / log_scale.exp())
    assert torch.allclose(prior.decode(z, y), x)


def test_a_class_moves_mean_and_log_scale_by_its_offset() -> None:
    prior = _moved(TopPrior(2, num_classes=3))
    mean, log_scale = prior.parameters_for(torch.tensor([1, 2]), size=(4, 4))
    assert mean.shape == log_scale.shape == (2, 2, 1, 1)
    for row, label in enumerate((1, 2)):
        assert torch.equal(mean[row, :, 0, 0], prior.mean + prior.class_offset[label, :2])
        assert torch.equal(log_scale[row, :, 0, 0], prior.log_scale + prior.class_offset[label, 2:])


@pytest.mark.parametrize("make", [TopPrior, IndependentPrior])
def test_labels_are_checked(make) -> None:
    def kind(classes: int | None) -> torch.nn.Module:
        return make(2 if make is TopPrior else (2, 1, 1), num_classes=classes)

    x = torch.zeros(2, 2, 1, 1)
    with pytest.raises(ConfigError, match="no classes; leave y out"):
        kind(None).encode(x, torch.tensor([0, 0]))
    with pytest.raises(ConfigError, match=r"needs class labels y in 0\.\.2"):
        kind(3).encode(x, None)
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ConfigError, match=r"must lie in 0\.\.2"):
            kind(3).decode(x, torch.tensor(labels))


@pytest.mark.parametrize("make", [TopPrior, IndependentPrior])
@pytest.mark.parametrize("classes", [None, 3])
def test_an_empty_batch_stays_empty(make, classes) -> None:
    prior = make(2 if make is TopPrior else (2, 4, 4), num_classes=classes)
    y = None if classes is None else torch.zeros(0, dtype=torch.int64)
    z, log_prob = prior.encode(torch.zeros(0, 2, 4, 4), y)
    assert (z.shape, log_prob.shape) == ((0, 2, 4, 4), (0,))
    assert prior.decode(z, y).shape == (0, 2, 4, 4)


@pytest.mark.parametrize(
    "config", [{}, {"num_classes": 3}, {"edge_bias": True}, {"permutation": "plain", "coupling": "additive"}]
)
def test_so_does_one_of_the_whole_model(config, perturbed_glow) -> None:
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=1, width=4, n_bits=5, **config))
    y = torch.zeros(0, dtype=torch.int64) if "num_classes" in config else None
    z, log_prob = glow.encode(torch.zeros(0, 3, 8, 8), y)
    assert log_prob.shape == (0,)
    assert glow.decode(z, y).shape == (0, 3, 8, 8)
