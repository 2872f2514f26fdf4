from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # exact_models.py is imported by name

from exact_models import CONFIGS, make, make_of


@pytest.fixture(scope="session", params=CONFIGS)
def made(request, perturbed_glow):
    """Exact graphs of four kinds of models, their weights perturbed."""
    if request.param in ("rgb", "grey-plain-edge"):
        return request.getfixturevalue({"rgb": "rgb"}.get(request.param, "edged"))
    return make(perturbed_glow(CONFIGS[request.param], seed=3))


@pytest.fixture(scope="session")
def edged(perturbed_glow):
    """Exact graphs of a model whose convolutions know the border."""
    return make(perturbed_glow(CONFIGS["grey-plain-edge"], seed=3))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bf16", "fp16-edge")]


@pytest.fixture(scope="session", params=["bf16-edge", "fp16", *SLOW])
def narrow(request, rgb, edged):
    """Exact graphs whose hidden sums are rounded to 16 bit."""
    number, _, edge = request.param.partition("-")
    source = edged if edge else rgb
    return make_of(source.folded, levels=source.levels, narrow=number, bits=8 if number == "bf16" else 11)


@pytest.fixture(scope="session")
def rgb(perturbed_glow):
    """Exact graphs of one model."""
    return make(perturbed_glow(CONFIGS["rgb"], seed=3))
