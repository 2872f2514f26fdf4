"""The canary on real kernels: what each backend does with TF32 allowed and forbidden.

TF32 needs Ampere (sm80) or newer. A library that is allowed to use it need not; on these sizes it is expected to, in at
least one of the two convolutions.
"""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.canary import CanaryResult, canary_for, detect, make_canary
from glow_deploy.canary.graph import INPUT, OUTPUT, canary_graph
from glow_deploy.compile import RTX_GPUS, CompileSettings, compile_bundle
from glow_deploy.engines import open_engine
from glow_deploy.engines.device import Device
from glow_deploy.errors import MissingDependencyError

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def ampere(gpu):
    if gpu.capability < (8, 0):
        pytest.skip(f"{gpu.name} (sm{gpu.capability[0]}{gpu.capability[1]}) has no TF32")
    return gpu


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("canary") / "canary.onnx"
    path.write_bytes(canary_graph(make_canary()))
    return path


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def compiled(request, gpu, graph_file, tmp_path):
    """`compiled(tf32)` is a plan of the canary from the ordinary compiler, and the backend's name."""
    if request.param == "tensorrt-rtx" and gpu.target not in RTX_GPUS:
        pytest.skip(f"TensorRT for RTX has no target {gpu.target} ({gpu.name})")

    def make(tf32):
        path = tmp_path / "canary.onnx"
        path.write_bytes(graph_file.read_bytes())
        options = {"gpus": (gpu.target,)} if request.param == "tensorrt-rtx" else {}
        flavor = "rtx" if request.param == "tensorrt-rtx" else "tensorrt"
        try:
            (plan,) = compile_bundle(path, settings=CompileSettings(flavor=flavor, tf32=tf32, **options), force=True)
        except MissingDependencyError as error:
            pytest.skip(str(error))
        return plan.path, request.param

    return make


def _show(result) -> dict:
    assert isinstance(result, CanaryResult), result
    return result.to_dict()


def _onnxruntime(data: bytes, *, use_tf32: str):
    """The session of the engine (glow_deploy/engines/onnxruntime.py), with TF32 as told."""
    ort = pytest.importorskip("onnxruntime")
    from glow_deploy.engines.onnxruntime import cuda_problem

    problem = cuda_problem(Device("cuda"))
    if problem is not None:
        pytest.skip(problem)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    ort.preload_dlls()
    providers = [("CUDAExecutionProvider", {"device_id": 0, "use_tf32": use_tf32})]
    try:
        session = ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except Exception as error:
        pytest.skip(f"the CUDA provider does not load: {str(error)[:200]}")
    if session.get_providers()[0] != "CUDAExecutionProvider":
        pytest.skip(f"the CUDA provider does not load: the session fell back to {session.get_providers()[0]}")
    return lambda x: session.run([OUTPUT], {INPUT: x})[0]


def test_onnxruntime_uses_tf32_where_it_is_allowed(ampere, graph_file):
    result = detect(_onnxruntime(graph_file.read_bytes(), use_tf32="1"))
    assert result.detected == "tf32", _show(result)


def test_onnxruntime_computes_in_float32_where_tf32_is_off(gpu, graph_file):
    result = detect(_onnxruntime(graph_file.read_bytes(), use_tf32="0"))
    assert result.detected == "fp32", _show(result)


def test_the_engine_is_measured_as_float32(gpu, backend, bundle):
    """As `verify` does it: the flags are those of the bundle's own plans, compiled with TF32 off."""
    suffix = {"tensorrt": ".trt", "tensorrt-rtx": ".rtx.trt"}.get(backend)
    result = canary_for(backend, device="cuda", plan=suffix and bundle / f"decoder{suffix}")
    assert _show(result)["text"] == "float32 (measured)", _show(result)


def test_a_plan_that_may_use_tf32_is_found_out(ampere, compiled):
    path, backend = compiled(True)
    with open_engine(path, device="cuda") as engine:
        assert engine.details.tf32 is True
        result = detect(lambda x: engine.run({INPUT: x})[OUTPUT])
    assert result.detected == "tf32", _show(result)
    again = canary_for(backend, device="cuda", plan=path)
    assert _show(again)["detected"] == "tf32", _show(again)


def test_a_plan_without_tf32_is_float32(gpu, compiled):
    path, backend = compiled(False)
    with open_engine(path, device="cuda") as engine:
        result = detect(lambda x: engine.run({INPUT: x})[OUTPUT])
    assert result.detected == "fp32", _show(result)
    again = canary_for(backend, device="cuda", plan=path)
    assert _show(again)["detected"] == "fp32", _show(again)


@pytest.mark.parametrize(("setting", "detected"), [("tf32", "tf32"), ("ieee", "fp32")])
def test_torch_follows_its_setting(ampere, setting, detected):
    torch = pytest.importorskip("torch", reason="compares with torch's kernels")
    if not torch.cuda.is_available():
        pytest.skip("the installed torch has no CUDA")
    weights = [torch.tensor(weight, device="cuda") for weight in make_canary().weights.values()]
    before = torch.backends.cudnn.conv.fp32_precision

    def run(x):
        images = torch.tensor(x, device="cuda")
        parts = [torch.nn.functional.conv2d(images, weight, padding=weight.shape[2] // 2) for weight in weights]
        return torch.cat(parts, dim=1).cpu().numpy()

    try:
        torch.backends.cudnn.conv.fp32_precision = setting
        result = detect(run)
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
    assert result.detected == detected, _show(result)


def test_two_runs_tell_the_same(gpu, graph_file):
    run = _onnxruntime(graph_file.read_bytes(), use_tf32="0")
    first, second = detect(run), detect(run)
    assert first.detected == second.detected
    np.testing.assert_allclose(first.error, second.error, rtol=1e-2)
