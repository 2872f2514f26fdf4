"""Small models whose error budget is known."""

from dataclasses import replace

import numpy as np
import pytest

from glow_core import GlowConfig
from glow_deploy.budget import measure_budget
from glow_deploy.folding import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep
from glow_deploy.folding.fold import fold
from glow_deploy.precision.simulate import float32_graphs


@pytest.fixture(scope="session")
def linear_model():
    """A model of one level whose couplings do nothing, from the 1x1 convolutions of its decoder, [C,C] each."""

    def build(matrices, *, width=4):
        channels = len(matrices[0])
        still = FoldedConditioner(
            conv1=conv(np.zeros((width, channels // 2, 3, 3))),
            conv2=conv(np.zeros((width, width, 1, 1))),
            conv3=conv(np.zeros((channels // 2, width, 3, 3))),
        )
        steps = tuple(
            FoldedStep(
                encode=conv(np.linalg.inv(matrix)[:, :, None, None]),
                decode=conv(np.asarray(matrix)[:, :, None, None]),
                conditioner=still,
            )
            for matrix in matrices
        )
        zeros = np.zeros((1, channels, 1, 1))
        return FoldedGlow(
            image_shape=(channels // 4, 8, 8),
            n_bits=8,
            coupling="additive",
            bounded_scale=True,
            levels=(FoldedLevel(shape=(channels, 4, 4), steps=steps, split=None),),
            prior=FoldedPrior(mean=zeros, log_scale=zeros),
            num_classes=None,
            log_det=0.0,
        )

    return build


def conv(weight):
    return FoldedConv(weight=weight, bias=np.zeros(len(weight)))


@pytest.fixture(scope="session")
def rotation():
    """A random rotation of C channels."""

    def build(channels, *, seed=0):
        matrix, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((channels, channels)))
        return matrix

    return build


@pytest.fixture(scope="session")
def small_glow(perturbed_glow):
    """The folded form of a perturbed model of two levels of 16x16."""

    known = {}

    def build(**options):
        config = GlowConfig(**{"image_size": (16, 16), "levels": 2, "steps": 4, "width": 32, **options})
        if config not in known:
            known[config] = fold(perturbed_glow(config))
        return known[config]

    return build


@pytest.fixture(scope="session")
def changed_step():
    """A copy of a folded model with one step replaced by what `change` makes of it; both count from 1."""

    def build(folded: FoldedGlow, level: int, step: int, change):
        old = folded.levels[level - 1]
        steps = list(old.steps)
        steps[step - 1] = change(steps[step - 1])
        levels = list(folded.levels)
        levels[level - 1] = replace(old, steps=tuple(steps))
        return replace(folded, levels=tuple(levels))

    return build


@pytest.fixture(scope="session")
def graphs():
    """The encoder and the decoder graph of a folded model."""

    def build(folded):
        models = float32_graphs(folded)
        return models["encoder"], models["decoder"]

    return build


@pytest.fixture(scope="session")
def images():
    """Images at bin centres."""

    def build(n, shape, *, n_bits=8, seed=0):
        pixels = np.random.default_rng(seed).integers(0, 2**n_bits, (n, *shape))
        return ((pixels + 0.5) / 2**n_bits).astype(np.float32)

    return build


@pytest.fixture(scope="module")
def report(small_glow, graphs, images):
    return measure_budget(*graphs(small_glow(steps=7)), images(3, (3, 16, 16)))
