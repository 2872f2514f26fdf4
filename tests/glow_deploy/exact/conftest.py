from __future__ import annotations

import sys
from pathlib import Path

import pytest

from glow_core import GlowConfig

sys.path.insert(0, str(Path(__file__).parent))  # exact_models.py is imported by name

CONFIGS = {
    "rgb": GlowConfig(image_size=(8, 8), levels=2, steps=2, width=16, coupling="additive", n_bits=5),
    "grey-plain-edge": GlowConfig(
        image_size=(16, 8),
        channels=1,
        levels=3,
        steps=2,
        width=8,
        coupling="additive",
        permutation="plain",
        edge_bias=True,
    ),
    "classes": GlowConfig(
        image_size=(8, 8), channels=1, levels=2, steps=2, width=8, coupling="additive", n_bits=8, num_classes=3
    ),
    "independent-shuffle": GlowConfig(
        image_size=(8, 4), levels=2, steps=2, width=8, coupling="additive", permutation="shuffle", prior="independent"
    ),
}


@pytest.fixture(scope="session", params=CONFIGS)
def made(request, perturbed_glow):
    """Exact graphs of four kinds of models, their weights perturbed."""
    from exact_models import make

    return make(perturbed_glow(CONFIGS[request.param], seed=3))


@pytest.fixture(scope="session")
def narrow(perturbed_glow):
    """Exact graphs whose hidden sums are rounded to bfloat16."""
    from exact_models import make

    return make(perturbed_glow(CONFIGS["rgb"], seed=3), narrow=True)


@pytest.fixture(scope="session")
def rgb(perturbed_glow):
    """Exact graphs of one model."""
    from exact_models import make

    return make(perturbed_glow(CONFIGS["rgb"], seed=3))
