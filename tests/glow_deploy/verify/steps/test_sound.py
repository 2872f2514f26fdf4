"""Sound models of every kind: no step is named, and the prediction holds."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from glow_deploy.engines.device import count_gpus
from glow_deploy.errors import MissingDependencyError, UsageError

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


def assert_sound(report, *, spread=3.0):
    assert report.weights == ()
    used = [backend for backend in report.backends if backend.used]
    assert used
    for backend in used:
        assert backend.jumps == (), [str(jump) for jump in backend.jumps]
        for row in backend.rows:
            assert row.non_finite == row.reference_non_finite == 0
            assert row.observed_rms <= spread * row.predicted_rms
            assert row.local_rms <= spread * row.local_predicted


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


def test_a_bundle_is_measured_on_its_golden_images(case, tmp_path):
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export
    from glow_deploy.verify.steps import StepsSettings, measure_steps, steps_table

    made = []
    case(edit=lambda glow: made.append(glow), steps=2, width=8)
    save_checkpoint(made[0].float(), tmp_path / "ckpt.pt")
    export(tmp_path / "ckpt.pt", out=tmp_path / "bundle", settings=ExportSettings(golden=6))
    seen = []
    report = measure_steps(
        tmp_path / "bundle",
        settings=StepsSettings(images=5, batch=2, device="cpu"),
        progress=lambda *state: seen.append(state),
    )
    assert_sound(report)
    assert report.images == 5
    assert [state[1:] for state in seen] == [(1, 3), (2, 3), (3, 3)]
    reasons = {backend.backend: backend.reason for backend in report.backends if not backend.used}
    assert set(reasons) == {"onnxruntime-cuda", "tensorrt", "tensorrt-rtx"}
    assert all("GPU" in reason for reason in reasons.values())
    assert isinstance(made[0].config, GlowConfig)
    written = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert written["images"] == 5
    first = written["backends"][0]
    assert first["backend"] == "onnxruntime-cpu"
    assert first["first_jump"] is None
    wanted = {"step", "direction", "observed_rms", "observed_max", "predicted_rms", "non_finite"}
    assert wanted <= set(first["rows"][0])
    assert text_of(steps_table(report)).count("no step is out of bounds") == 1


def test_batches_do_not_change_the_figures(case):
    model = case()
    whole, parts = model.measure(), model.measure(settings={"batch": 3})
    for one, other in zip(whole.backends[0].rows, parts.backends[0].rows, strict=True):
        assert math.isclose(one.observed_rms, other.observed_rms, rel_tol=0.2)
        assert math.isclose(one.rms, other.rms, rel_tol=1e-9)


def test_what_cannot_run_here_says_why(case):
    model = case()
    with pytest.raises(UsageError, match="choose from"):
        model.measure(settings={"backends": ("pytorch-fp64",)})
    with pytest.raises(UsageError, match="the device asked for is the CPU"):
        model.measure(settings={"backends": ("tensorrt",), "device": "cpu"})
    with pytest.raises(UsageError, match="at least 1"):
        model.measure(settings={"images": 0})
    if count_gpus() == 0:
        with pytest.raises(MissingDependencyError, match=r"GPU|CUDA"):
            model.measure(settings={"backends": ("onnxruntime-cuda",)})


def test_a_class_conditional_model_needs_labels(case):
    from glow_deploy.verify.steps.run import measure_graphs

    model = case(num_classes=3)
    with pytest.raises(UsageError, match="no labels"):
        measure_graphs(model.encoder, model.decoder, x=model.x)


def test_graphs_of_different_models_are_refused(case):
    from dataclasses import replace

    from glow_deploy.errors import BundleError

    with pytest.raises(BundleError, match="same steps"):
        replace(case(), decoder=case(levels=1).decoder).measure()


def text_of(table):
    import io

    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=80).print(table)
    return stream.getvalue()
