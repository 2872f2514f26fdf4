"""The canary as a graph, and on this package's backends: ONNX Runtime for real, TensorRT compiled and on stand-ins."""

from __future__ import annotations

import importlib
import json
from functools import partial

import pytest

from glow_deploy.artifact.plan_header import read_header
from glow_deploy.artifact.sidecar import read_sidecar, sidecar_path
from glow_deploy.canary import CanaryResult, CanaryUnavailable, canary_for
from glow_deploy.canary import run as run_module
from glow_deploy.canary.graph import INPUT, OUTPUT
from glow_deploy.canary.run import compile_canary
from glow_deploy.compile import CompileSettings, compile_bundle
from glow_deploy.engines import cuda as cuda_module
from glow_deploy.engines import trt_module
from glow_deploy.errors import EngineError

build_module = importlib.import_module("glow_deploy.compile.build")  # glow_deploy.compile is a function too


def test_onnxruntime_computes_in_float32_on_the_cpu():
    result = canary_for("onnxruntime-cpu")
    assert isinstance(result, CanaryResult)
    assert (result.detected, result.text) == ("fp32", "float32 (measured)")
    assert result.error < 1e-6
    assert result.margin > 300


@pytest.mark.parametrize("tf32", [False, True])
def test_tensorrt_for_rtx_compiles_it_without_a_gpu(tf32):
    pytest.importorskip("tensorrt_rtx")
    plan = compile_canary(CompileSettings(gpus=("sm89",), tf32=tf32, max_batch=2))
    assert read_header(plan, source="canary").targets == ("sm89",)


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "tf32"])
def plan(request, graph, tmp_path_factory):
    """Whether TF32 is allowed, and a real RTX plan with its sidecar, compiled by the ordinary path."""
    pytest.importorskip("tensorrt_rtx")
    path = tmp_path_factory.mktemp("plan") / "canary.onnx"
    path.write_bytes(graph)
    (compiled,) = compile_bundle(path, settings=CompileSettings(gpus=("sm89",), tf32=request.param))
    return request.param, compiled.path


@pytest.fixture
def machine(monkeypatch, stand_ins, runner, kernels):
    """A GPU and both TensorRTs on stand-ins, which compute in TF32 where the build was allowed to."""
    used = {}

    def build(data, graph, *, trt, settings, configure, source, **_):
        used["settings"] = settings
        names = {"x": "tf32_cut", "w": "tf32_cut"} if settings.tf32 and used.get("honest", True) else {}
        kernel = partial(kernels.direct, **{role: getattr(kernels, name) for role, name in names.items()})
        trt.compute = lambda arrays: {OUTPUT: runner(kernel)(arrays[INPUT])}
        return b"plan"

    def module(flavor):
        key = f"trt {flavor}"
        used.setdefault(
            key,
            stand_ins.StandInTensorRT(
                used["cuda"],
                inputs={INPUT: ((128, 16, 16), "float32")},
                outputs={OUTPUT: ((128, 16, 16), "float32")},
                compute=None,
                batches=(1, 32, 32),
                rtx=flavor == "rtx",
            ),
        )
        return used[key]

    used["cuda"] = stand_ins.StandInCuda()
    monkeypatch.setattr(cuda_module, "Cuda", lambda index: used["cuda"])
    monkeypatch.setattr(build_module, "build_plan", build)
    monkeypatch.setattr(trt_module, "import_tensorrt", module)
    return used


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_without_a_plan_tf32_is_off_and_everything_is_given_back(machine, backend):
    result = canary_for(backend)
    assert result.text == "float32 (measured)"
    settings = machine["settings"]
    assert (settings.tf32, settings.profile) == (False, (1, 32, 32))
    assert settings.targets == (("sm89",) if backend == "tensorrt-rtx" else ())
    assert machine["cuda"].memory == {}
    assert machine["cuda"].streams == set()


def test_the_flags_are_those_of_the_plan_under_test(plan, machine):
    tf32, path = plan
    result = canary_for("tensorrt-rtx", plan=path)
    assert machine["settings"].tf32 is tf32
    assert result.text == ("TF32!" if tf32 else "float32 (measured)")


def test_compatibility_flags_are_those_of_the_plan_too(tmp_path, machine):
    path = tmp_path / "decoder.trt"
    path.write_bytes(b"ftrt")
    _write_sidecar(path, flavor="tensorrt", version_compatible=True, hardware_compatible=True)
    canary_for("tensorrt", plan=str(path))
    settings = machine["settings"]
    assert (settings.flavor, settings.version_compatible, settings.hardware_compatible) == ("tensorrt", True, True)


def test_the_flag_is_not_believed(tmp_path, machine):
    """What is detected is what ran: a plan that may use TF32 and does not is a float32 plan."""
    machine["honest"] = False
    path = tmp_path / "decoder.trt"
    path.write_bytes(b"ftrt")
    _write_sidecar(path, flavor="tensorrt", tf32=True)
    assert canary_for("tensorrt", plan=path).text == "float32 (measured)"


def _write_sidecar(path, **changes):
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.artifact.sidecar import Sidecar

    fields = {
        "sha256": sha256_file(path),
        "onnx_sha256": "0" * 64,
        "version": "11.4.0",
        "tf32": False,
        "version_compatible": False,
        "hardware_compatible": False,
        "profile": (1, 2, 4),
        "gpus": ("sm89",),
        "metadata": {},
        "inputs": (),
        "outputs": (),
    }
    sidecar_path(path).write_text(Sidecar(**{**fields, **changes}).to_json())
    assert read_sidecar(path) is not None


@pytest.mark.parametrize("damage", ["no sidecar", "another plan", "no plan", "damaged sidecar"])
def test_a_plan_that_nothing_vouches_for_is_not_measured(tmp_path, machine, damage):
    path = tmp_path / "decoder.trt"
    path.write_bytes(b"ftrt")
    if damage != "no sidecar":
        _write_sidecar(path, flavor="tensorrt")
    match damage:
        case "another plan":
            path.write_bytes(b"ftrt, other bytes")
        case "no plan":
            path.unlink()
        case "damaged sidecar":
            sidecar_path(path).write_text("{")
    result = canary_for("tensorrt", plan=path)
    assert isinstance(result, CanaryUnavailable)
    assert "decoder.trt" in result.reason
    assert "settings" not in machine


def test_what_cannot_be_run_says_why(machine):
    machine["cuda"].capability = (9, 0)
    result = canary_for("tensorrt-rtx")
    assert "no target sm90" in result.reason
    assert (result.text, json.dumps(result.to_dict())) == ("not measured", "null")
    assert "the CPU" in canary_for("tensorrt", device="cpu").reason
    assert "unknown device" in canary_for("tensorrt", device="cuda:x").reason
    assert "pytorch-fp32" in canary_for("pytorch-fp32").reason
    machine["cuda"].fail_synchronize = True
    assert "illegal memory access" in canary_for("tensorrt").reason


def test_a_missing_gpu_is_a_reason_not_an_error(monkeypatch):
    monkeypatch.setattr("glow_deploy.engines.onnxruntime.count_gpus", lambda: 0)
    assert "cannot run on cuda" in canary_for("onnxruntime-cuda").reason
    assert "the CPU" in canary_for("onnxruntime-cuda", device="cpu").reason


def test_a_bug_is_not_taken_for_a_missing_backend(monkeypatch):
    monkeypatch.setattr(run_module, "_open", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        canary_for("onnxruntime-cpu")


def test_an_engine_that_fails_is_a_reason(monkeypatch):
    class Engine:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, feeds):
            raise EngineError("ONNX Runtime failed on a batch of 32")

    monkeypatch.setattr(run_module, "_open", lambda *a, **k: Engine())
    assert canary_for("onnxruntime-cpu") == CanaryUnavailable(reason="ONNX Runtime failed on a batch of 32")
