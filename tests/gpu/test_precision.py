"""16-bit graphs on real tensor cores against the simulation of them, in one pass and on the round trip."""

from __future__ import annotations

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.verify import VerifySettings, verify

pytestmark = pytest.mark.gpu

FACTOR = 3.0  # rms of a real engine over the simulation's, either way
PRECISIONS = ("mixed", "bf16-mixed", "auto", "fp16")


@pytest.fixture(scope="module", params=PRECISIONS)
def narrow(request, checkpoint, gpu, tmp_path_factory):
    """A bundle in 16 bit with plans of every flavour this GPU can run; why a backend cannot be tested, by name."""
    from glow_deploy.compile import RTX_GPUS, CompileSettings, compile_bundle
    from glow_deploy.engines.device import Device
    from glow_deploy.engines.onnxruntime import cuda_problem
    from glow_deploy.errors import MissingDependencyError
    from glow_deploy.export import ExportSettings, export

    path = tmp_path_factory.mktemp("narrow") / "bundle"
    export(checkpoint, out=path, settings=ExportSettings(precision=request.param, golden=64))
    found = {}
    problem = cuda_problem(Device("cuda"))
    if problem is not None:
        found["onnxruntime-cuda"] = problem
    for name, flavor in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "rtx")):
        if flavor == "rtx" and gpu.target not in RTX_GPUS:
            found[name] = f"TensorRT for RTX has no target {gpu.target} ({gpu.name})"
            continue
        gpus = (gpu.target,) if flavor == "rtx" else ()
        try:
            compile_bundle(path, settings=CompileSettings(flavor=flavor, opt_batch=4, max_batch=8, gpus=gpus))
        except MissingDependencyError as error:
            found[name] = str(error)
    return path, found


def test_real_engines_err_as_the_simulation_says(narrow):
    path, problems = narrow
    backends = tuple(name for name in ("onnxruntime-cuda", "tensorrt", "tensorrt-rtx") if name not in problems)
    for name, reason in problems.items():
        print(f"{name} is not compared: {reason}")
    if not backends:
        pytest.skip(f"no backend computes 16-bit graphs here: {problems}")
    precision = Bundle.open(path).manifest.precision
    report = verify(path, settings=VerifySettings(backends=(*backends, "simulated"), random_draws=0))
    by_name = {reference.backend: reference for reference in report.references}
    simulated = by_name["simulated"]
    for name in backends:
        real = by_name[name]
        pairs = [("x from z", real.x_error, simulated.x_error), ("bits/dim", real.bits_per_dim, simulated.bits_per_dim)]
        pairs += [(f"z{k}", *pair) for k, pair in enumerate(zip(real.z, simulated.z, strict=True), 1)]
        for measure, got, expected in pairs:
            ratio = got.rms / expected.rms
            print(f"{precision} {name} {measure}: {got.rms:.2e}, simulated {expected.rms:.2e}, ratio {ratio:.2f}")
            assert 1 / FACTOR < ratio < FACTOR, (name, measure)


def test_auto_keeps_its_promise_on_the_gpu(narrow):
    path, problems = narrow
    if Bundle.open(path).manifest.precision != "auto":
        pytest.skip("only auto promises exact images")
    backends = tuple(name for name in ("onnxruntime-cuda", "tensorrt", "tensorrt-rtx") if name not in problems)
    if not backends:
        pytest.skip(f"no backend computes 16-bit graphs here: {problems}")
    report = verify(path, settings=VerifySettings(backends=backends, random_draws=0))
    for cell in report.cells:
        if cell.encode == cell.decode:
            assert cell.exactness.images_exact == cell.exactness.images, cell.encode
