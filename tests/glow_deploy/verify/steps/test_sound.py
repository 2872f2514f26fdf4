"""Sound models of every kind: no step is named, and the prediction holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from blame import assert_sound

COUPLINGS = [("affine", True), ("affine", False), ("additive", True)]
PERMUTATIONS = ["lu", "plain", "shuffle", "reverse"]
CROSSED = itertools.product(range(len(COUPLINGS)), range(len(PERMUTATIONS)), range(2), range(3))
OPTIONS = [
    pytest.param(
        {
            "coupling": COUPLINGS[c][0],
            "bounded_scale": COUPLINGS[c][1],
            "permutation": PERMUTATIONS[p],
            "num_classes": (None, 3)[k],
            "levels": level + 1,
            "steps": 2,
            "image_size": (16, 8) if level == 2 else (8, 8),
        },
        id=f"{COUPLINGS[c][0]}{'' if COUPLINGS[c][1] else '-unbounded'}-{PERMUTATIONS[p]}-{k}classes-L{level + 1}",
        # Every pair of options is met without the slow ones.
        marks=() if (k, level) == ((c + p) % 2, (c + p + 2 * (p // 2)) % 3) else pytest.mark.slow,
    )
    for c, p, k, level in CROSSED
]
FEATURES = {
    "edges": {"edge_bias": True},
    "edges, sides of 4 to 1": {"edge_bias": True, "levels": 3, "coupling": "additive"},
    "independent": {"prior": "independent"},
    "all, classes": {"edge_bias": True, "prior": "independent", "num_classes": 3, "bounded_scale": False},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_named_and_the_prediction_holds(case, options):
    model = case(**options)
    report = model.measure(trained=dict(model.folded.named_arrays()))
    assert_sound(report)
    assert "trained model" in report.reference
    backend = report.backends[0]
    assert backend.probe_difference == 0.0
    steps = model.folded.levels
    stages = sum(len(level.steps) for level in steps) + len(steps)
    assert [row.direction for row in backend.rows] == ["encode"] * stages + ["decode"] * stages
    assert backend.rows[stages - 1].step == backend.rows[stages].step == "prior"
    # The prediction is no loose bound either.
    ratios = [row.observed_rms / row.predicted_rms for row in backend.rows]
    assert min(ratios) > 0.05
    assert float(np.median(ratios)) > 0.2


@pytest.mark.parametrize("options", FEATURES.values(), ids=FEATURES)
def test_edges_and_independent_priors_are_followed(case, options):
    model = case(**options)
    report = model.measure(trained=dict(model.folded.named_arrays()))
    assert_sound(report)
    assert "trained model" in report.reference
    rows = report.backends[0].rows
    assert min(row.observed_rms / row.predicted_rms for row in rows) > 0.05
    assert sum(row.step.endswith("/split") for row in rows) == 2 * (len(model.folded.levels) - 1)


@pytest.mark.parametrize("plan", ["mixed", "bf16-mixed", "fp16"])
@pytest.mark.parametrize(
    "options",
    [{}, {"coupling": "additive"}, {"edge_bias": True}, {"edge_bias": True, "prior": "independent"}],
    ids=["affine", "additive", "edges", "edges, independent"],
)
def test_the_simulated_16_bit_parts_are_predicted_too(case, plan, options):
    report = case(plan=plan, **options).measure(settings={"backends": ("simulated",)})
    assert_sound(report)
    conditioners = [row for row in report.backends[0].rows if "/step" in row.step]
    assert all(row.local_rms > row.local_predicted / 20 for row in conditioners)


def test_a_mixed_graph_is_sound_on_a_provider_that_computes_wider(case):
    report = case(plan="mixed").measure(settings={"backends": None, "device": "cpu"})
    assert_sound(report)
    assert [backend.backend for backend in report.backends if backend.used] == ["onnxruntime-cpu", "simulated"]
