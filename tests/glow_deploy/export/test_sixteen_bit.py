"""Exports in 16 bit: what is promised, what is refused, and that a wrong graph does not become its own measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.open import open_engine
from glow_deploy.errors import DataError, MissingDependencyError, UnsoundModelError
from glow_deploy.export import ExportSettings, export
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.verify import VerifySettings, verify

PRECISIONS = ["mixed", "bf16-mixed", "fp16", "auto"]


@pytest.fixture
def checkpoint(perturbed_glow, tmp_path):
    def make(**options):
        shape = {"image_size": (8, 16), "levels": 2, "steps": 3, "width": 16, "n_bits": 5}
        config = GlowConfig(**{**shape, **options})
        save_checkpoint(perturbed_glow(config), tmp_path / "ckpt.pt")
        return tmp_path / "ckpt.pt"

    return make


def settings(precision, **options):
    return ExportSettings(precision=precision, golden=8, **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "options", [{}, {"coupling": "additive", "num_classes": 3, "channels": 1}], ids=["affine", "additive"]
)
def test_a_narrow_bundle_is_sound_and_says_what_it_is(checkpoint, tmp_path, precision, options):
    bundle = export(checkpoint(**options), out=tmp_path / "b", settings=settings(precision))
    manifest = Bundle.open(bundle.path).manifest
    stored = manifest.numerics.precision
    plan = PrecisionPlan.from_dict(stored.plan, source="manifest")
    assert manifest.precision == plan.name == precision
    assert stored.measured_on == "simulation"
    assert (stored.onnxruntime_cpu is None) == (precision == "bf16-mixed")
    assert len(stored.ranges.headroom_bits) == len(plan.narrow)
    assert stored.share_16_bit > 0.3
    assert manifest.numerics.self_check.passed
    if precision == "bf16-mixed":
        with pytest.raises(MissingDependencyError, match="no bfloat16 convolution"):
            open_engine(bundle.path / "decoder.onnx", device="cpu")
    else:
        with open_engine(bundle.path / "decoder.onnx", device="cpu") as engine:
            assert engine.details.precision == precision
    report = verify(bundle.path, settings=VerifySettings(backends=("simulated",), random_draws=0))
    assert report.sound, [str(failure) for failure in report.failures]
    judged = "reported" if precision == "fp16" else "sound"
    assert report.verdicts.to_dict() == {
        "round_trip": judged,
        "likelihood": judged,
        "samples": "sound",
        "weights": "sound",
    }


def test_onnxruntime_runs_float16_and_is_no_proof_of_it(checkpoint, tmp_path):
    bundle = export(checkpoint(), out=tmp_path / "b", settings=settings("mixed"))
    report = verify(bundle.path, settings=VerifySettings(backends=("onnxruntime-cpu", "simulated"), random_draws=0))
    assert report.sound
    cells = {(cell.encode, cell.decode): cell.x_error.rms for cell in report.cells}
    assert cells["simulated", "simulated"] > 10 * cells["onnxruntime-cpu", "onnxruntime-cpu"]
    assert any("not those of a GPU" in note for note in report.notes)


def test_float32_bundles_have_nothing_to_simulate(checkpoint, tmp_path):
    bundle = export(checkpoint(), out=tmp_path / "b", settings=settings("fp32"))
    assert bundle.manifest.numerics.precision is None
    report = verify(bundle.path, settings=VerifySettings(random_draws=0))
    reason = next(backend.reason for backend in report.backends if backend.name == "simulated")
    assert "nothing in them is rounded" in reason


@pytest.mark.parametrize("precision", ["mixed", "bf16-mixed"])
def test_a_graph_that_disagrees_with_the_model_is_refused(checkpoint, tmp_path, monkeypatch, precision):
    """The same fault is in the graphs, in those the simulation starts from, and so in both measurements."""
    import glow_deploy.graphs.encoder as module

    original = module._reorder_inputs

    def scaled(conv):
        right = original(conv)
        return replace(right, weight=right.weight * 1.001)

    monkeypatch.setattr(module, "_reorder_inputs", scaled)
    with pytest.raises(UnsoundModelError, match="z1"):
        export(checkpoint(), out=tmp_path / "b", settings=settings(precision))
    assert not (tmp_path / "b").exists()


def test_a_narrow_graph_that_differs_from_its_simulation_is_refused(checkpoint, tmp_path, monkeypatch):
    from glow_deploy.export.build import WrittenGraph

    original = WrittenGraph.open

    class Off:
        def __init__(self, engine):
            self.engine = engine

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.engine.close()

        def run(self, feeds):
            outputs = self.engine.run(feeds)
            return {name: values * np.float32(1.01) if name == "z1" else values for name, values in outputs.items()}

    monkeypatch.setattr(WrittenGraph, "open", lambda self: Off(original(self)))
    with pytest.raises(UnsoundModelError, match="these roundings explain"):
        export(checkpoint(), out=tmp_path / "b", settings=settings("mixed"))


def test_auto_keeps_what_it_promises_and_explains_the_rest(checkpoint, tmp_path):
    path = checkpoint(n_bits=8)
    loose = export(path, out=tmp_path / "loose", settings=settings("auto", tolerance=50.0))
    strict = export(path, out=tmp_path / "strict", settings=settings("auto", tolerance=0.02))
    choices = [bundle.manifest.numerics.precision.choice for bundle in (loose, strict)]
    narrow = [sum(step.number == "fp16" for step in choice.steps) for choice in choices]
    assert narrow[0] == len(choices[0].steps) > narrow[1]
    for choice in choices:
        assert choice.tail * choice.tail_margin <= choice.tolerance
        assert choice.worst * choice.worst_margin <= choice.tolerance
        assert choice.n >= 256
        assert all(bool(step.reason) == (step.number == "fp32") for step in choice.steps)


def test_exactness_is_gated_where_it_was_promised(checkpoint, tmp_path):
    bundle = export(checkpoint(n_bits=8), out=tmp_path / "b", settings=settings("auto"))
    report = verify(bundle.path, settings=VerifySettings(backends=("simulated",), random_draws=0))
    gates = [gate for cell in report.cells for gate in cell.gates if gate.quantity == "exact images"]
    assert gates
    assert all(gate.passed and "promised" in gate.derivation for gate in gates)


def test_the_bound_of_auto_can_be_chosen(checkpoint, tmp_path):
    chosen = settings("auto", images=300, confidence=0.99)
    choice = export(checkpoint(), out=tmp_path / "b", settings=chosen).manifest.numerics.precision.choice
    assert (choice.n, choice.confidence) == (300, 0.99)
    assert choice.bound == pytest.approx(1 - 0.01 ** (1 / 300))


def test_auto_needs_enough_images_to_promise_anything(checkpoint, tmp_path):
    data = str(tmp_path / "few.npz")
    np.savez(data, images=np.random.default_rng(0).integers(0, 256, (20, 8, 16, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="at least 256 images"):
        export(checkpoint(), out=tmp_path / "b", settings=settings("auto", data=data))
    assert not (tmp_path / "b").exists()


def test_few_golden_images_are_kept_and_more_are_examined(checkpoint, tmp_path):
    bundle = export(checkpoint(), out=tmp_path / "b", settings=ExportSettings(precision="mixed", golden=2))
    assert len(bundle.golden()) == 2
    assert bundle.manifest.numerics.precision.figures.n == 16
    assert verify(bundle.path, settings=VerifySettings(random_draws=0)).sound
