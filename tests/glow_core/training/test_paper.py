"""The paper's runs are those of its code, and each of them can be built."""

from __future__ import annotations

import pytest

from glow_core import GlowConfig
from glow_core.training import PAPER_RUNS, TrainSettings, model_cost, plan_training

# Batch, warm-up and millions of parameters, the last counted from the shapes in the code.
KNOWN = {
    "cifar10": (512, 977, 44.6),
    "imagenet32": (512, 977, 66.9),
    "imagenet64": (128, 977, 112.4),
    "lsun-bedroom": (128, 977, 66.9),
    "celeba-hq-256": (40, 196, 175),
}
OF_THE_MODEL = ("levels", "steps", "width", "coupling", "permutation", "bounded_scale", "n_bits", "edge_bias")


def config_of(name: str) -> GlowConfig:
    options = PAPER_RUNS[name].options()
    side = PAPER_RUNS[name].side
    return GlowConfig(image_size=(side, side), channels=3, **{option: options[option] for option in OF_THE_MODEL})


def test_there_are_no_others() -> None:
    assert list(PAPER_RUNS) == list(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_those_of_the_code(name: str) -> None:
    batch, warmup, millions = KNOWN[name]
    options = PAPER_RUNS[name].options()
    assert (options["batch_size"], options["warmup_steps"]) == (batch, warmup)
    # The code's prior of the coarsest latent is a convolution of zeros: its weights do nothing.
    channels = 2 * config_of(name).level_shapes[-1][0]
    idle = 9 * (channels + 1) * channels
    assert model_cost(config_of(name)).parameters + idle == pytest.approx(millions * 1e6, rel=0.002)


@pytest.mark.slow
def test_the_smallest_takes_a_step_at_full_size() -> None:
    settings = TrainSettings(max_steps=1, batch_size=1, device="cpu", memory="checkpoint", init_images=1)
    plan = plan_training(config_of("cifar10"), settings)
    assert plan.step_seconds > 0
    assert 0 < plan.activation_bytes < plan.weight_bytes
