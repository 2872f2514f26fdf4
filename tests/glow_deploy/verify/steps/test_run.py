from __future__ import annotations

import json
import math

import pytest
from blame import assert_sound

from glow_deploy.engines.device import count_gpus
from glow_deploy.errors import MissingDependencyError, UsageError


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
