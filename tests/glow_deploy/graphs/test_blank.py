"""What the zeros of a blank model would take is known before they are built."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import pytest
from model_graphs import models_of

from glow_core import GlowConfig
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.blank import blank_model, large_shapes

SMALL = {"image_size": (8, 8), "channels": 1, "levels": 2, "steps": 2, "width": 16}
KINDS = {
    "affine": {},
    "additive": {"coupling": "additive"},
    "classes": {"num_classes": 3},
    "edges": {"edge_bias": True},
    "independent priors": {"prior": "independent", "num_classes": 2},
    "one level": {"levels": 1},
}


def config_of(glow):
    return {name: getattr(glow.config, name) for name in GlowConfig.__dataclass_fields__}


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_both_graphs_and_nearly_all_of_them(perturbed_glow, kind):
    glow = perturbed_glow(GlowConfig(**{**SMALL, **KINDS[kind]}))
    config = config_of(glow)
    for graph in models_of(fold(glow)).values():
        held = {name: array.shape for name, array in graph.weights.items()}
        found = dict(large_shapes(config, held=held))
        assert found == {name: held.get(name) for name in found}
        left = {name for name, array in graph.weights.items() if name not in found and array.size > 64}
        allowed = ("scale", "minus_edge", "edge_index")  # as large as a mean, 9 entries a channel, a side of the image
        assert {name for name in left if not any(word in name for word in allowed)} == set()
        blank = models_of(blank_model(config, held=held))
        assert {name: array.shape for name, array in blank["encoder"].weights.items() if name in found} == found


def test_nothing_is_built_for_them():
    config = {**SMALL, "width": 65536, "steps": 1024, "levels": 3, "num_classes": 10**6, "coupling": "affine"}
    tracemalloc.start()
    try:
        first = list(islice(large_shapes(config, held={}), 3))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert first[2] == ("level1/step01/coupling/conv2/weight", (65536, 65536, 1, 1))
