from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # exact_models.py is imported by name

from exact_models import CONFIGS, make, make_of


@pytest.fixture(scope="session", params=CONFIGS)
def made(request, perturbed_glow, rgb):
    """Exact graphs of four kinds of models, their weights perturbed."""
    if request.param == "rgb":
        return rgb
    return make(perturbed_glow(CONFIGS[request.param], seed=3))


@pytest.fixture(scope="session")
def narrow(rgb):
    """Exact graphs whose hidden sums are rounded to bfloat16."""
    return make_of(rgb.folded, levels=rgb.levels, narrow=True)


@pytest.fixture(scope="session")
def rgb(perturbed_glow):
    """Exact graphs of one model."""
    return make(perturbed_glow(CONFIGS["rgb"], seed=3))
