"""Parameters and multiply-adds of a model that is only described."""

from __future__ import annotations

import pytest
from training_toys import toy_config

from glow_core.config import GlowConfig
from glow_core.model import Glow
from glow_core.training import demo_config, model_cost


@pytest.mark.parametrize(
    "config",
    [
        toy_config(steps=2),
        toy_config(num_classes=3, edge_bias=True),
        toy_config(coupling="additive", permutation="plain", prior="independent"),
        demo_config(),
    ],
)
def test_parameters_are_those_of_the_model(config: GlowConfig) -> None:
    assert model_cost(config).parameters == sum(parameter.numel() for parameter in Glow(config).parameters())


def test_the_full_size_is_counted_without_being_built() -> None:
    assert model_cost(GlowConfig(image_size=(32, 32), levels=3, steps=32, width=512)).parameters == 44_152_272


def test_multiply_adds_are_those_of_the_convolutions() -> None:
    """Counted by hand: L=1, K=2, C=4 after the squeeze, 4x4 pixels; the rest is a few percent."""
    config = toy_config(levels=1, steps=2, width=64, coupling="additive", permutation="plain")
    a_pixel = 9 * 2 * 64 + 64 * 64 + 9 * 64 * 2 + 4 * 4
    assert model_cost(config).multiply_adds == pytest.approx(2 * a_pixel * 16, rel=0.05)
    assert model_cost(config).multiply_adds >= 2 * a_pixel * 16
