from __future__ import annotations

import sys
from pathlib import Path

import pytest

from glow_core import GlowConfig
from glow_deploy.folding.fold import fold

sys.path.insert(0, str(Path(__file__).parent))  # model_graphs.py and narrow_graphs.py are imported by name


@pytest.fixture(scope="module")
def glow(perturbed_glow):
    """Sides of 8x4, 4x2 and 2x1."""
    return perturbed_glow(GlowConfig(image_size=(16, 8), channels=1, levels=3, steps=2, width=8, edge_bias=True))


@pytest.fixture
def one_level(perturbed_glow):
    return fold(perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=2, width=8)))
