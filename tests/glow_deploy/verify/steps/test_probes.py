"""Engines that show their steps: the same results as without, on ONNX Runtime and on a stand-in for TensorRT."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.compile.settings import CompileSettings
from glow_deploy.engines.device import Device
from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine, open_onnx
from glow_deploy.errors import EngineError, UsageError
from glow_deploy.verify.steps.probes import Probe, ProbePlanEngine, compile_probe, open_probe, probe_graph
from glow_deploy.verify.steps.taps import read_layout


@pytest.fixture(scope="session")
def stand_ins():
    path = Path(__file__).parents[2] / "engines" / "stand_ins.py"
    spec = importlib.util.spec_from_file_location("glow_test_stand_ins", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shown(model, role):
    layout = read_layout(model.encoder, model.decoder, source="test")
    stages = layout.encode if role == "encoder" else layout.decode
    return probe_graph(getattr(model, role), [stage.output for stage in stages], source=role), layout


def on_stand_in(stand_ins, graph, *, tamper=None, hide=(), rtx=False):
    """A probe plan whose kernels are ONNX Runtime's."""
    kernels = OnnxRuntimeEngine(graph.data, graph=graph.graph, device=Device("cpu"), source="kernels")

    def compute(arrays):
        found = kernels.run(arrays)
        return {name: array for name, array in (tamper or (lambda f: f))(found).items() if name not in hide}

    cuda = stand_ins.StandInCuda()
    trt = stand_ins.StandInTensorRT(
        cuda,
        inputs={spec.name: (spec.shape, spec.dtype) for spec in graph.graph.inputs},
        # A plan lists its tensors in an order of its own.
        outputs={s.name: (s.shape, s.dtype) for s in reversed(graph.graph.outputs) if s.name not in hide},
        compute=compute,
        batches=(1, 2, 3),
        rtx=rtx,
    )
    flavor = "rtx" if rtx else "tensorrt"
    return ProbePlanEngine(b"plan", graph=graph.graph, trt=trt, cuda=cuda, flavor=flavor, tf32=False, source="probe")


@pytest.mark.parametrize("rtx", [False, True])
def test_a_probe_plan_gives_what_the_graph_gives(case, stand_ins, rtx):
    model = case(num_classes=3)
    graph, _ = shown(model, "encoder")
    feeds = {"x": model.x, "y": model.y}
    with (
        on_stand_in(stand_ins, graph, rtx=rtx) as engine,
        open_onnx(model.encoder.SerializeToString(), device="cpu") as plain,
    ):
        found, wanted = engine.run(feeds), plain.run(feeds)
        assert [spec.name for spec in engine.outputs] == [spec.name for spec in graph.graph.outputs]
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
        assert found["level1/step01/out"].shape == (4, 12, 4, 4)
        assert np.isfinite(found["level2/step03/out"]).all()


def test_a_plan_that_hides_a_step_is_refused(case, stand_ins):
    graph, _ = shown(case(), "decoder")
    with pytest.raises(EngineError, match="level2/step02/invconv:0"):
        on_stand_in(stand_ins, graph, hide=("level2/step02/invconv:0",))


def test_a_fault_of_a_plan_is_named_at_its_step(case, stand_ins):
    model = case()
    pair = {role: shown(model, role)[0] for role in ("encoder", "decoder")}

    def tamper(found):
        array = found["level2/step02/out"]
        return {**found, "level2/step02/out": array + np.float32(1e-3) * np.abs(array)}

    with (
        on_stand_in(stand_ins, pair["encoder"], tamper=tamper) as encoder,
        on_stand_in(stand_ins, pair["decoder"]) as decoder,
    ):
        probe = Probe(name="tensorrt", encoder=encoder, decoder=decoder)
        report = model.measure(probes=[probe])
    backend = report.backends[0]
    assert backend.details["provider"].startswith("TensorRT 11")
    assert (backend.first_jump.step, backend.first_jump.direction) == ("level2/step02", "encode")


def test_a_sound_plan_has_nothing_named(case, stand_ins):
    model = case()
    engines = [on_stand_in(stand_ins, shown(model, role)[0]) for role in ("encoder", "decoder")]
    report = model.measure(probes=[Probe(name="tensorrt", encoder=engines[0], decoder=engines[1])])
    assert report.first_jump is None
    assert report.backends[0].probe_difference is None
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("plan", [None, "mixed"])
def test_tensorrt_for_rtx_compiles_a_graph_that_shows_its_steps(case, role, plan):
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    graph, _ = shown(case(plan=plan), role)
    settings = CompileSettings(flavor="rtx", gpus=("sm89",), max_batch=4)
    data = compile_probe(graph, trt=trt, settings=settings, source=role)
    assert data[:4] == b"vtrt"
    # The names of what is shown are in the plan.
    assert all(spec.name.encode() in data for spec in graph.graph.outputs)


def test_there_is_no_probe_of_another_name(case):
    from contextlib import ExitStack

    model = case()
    layout = read_layout(model.encoder, model.decoder, source="test")
    with ExitStack() as stack, pytest.raises(UsageError, match="show its steps"):
        open_probe("pytorch-fp32", model.encoder, model.decoder, layout, stack=stack)
