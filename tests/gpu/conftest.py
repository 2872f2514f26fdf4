"""Skips everything here without a GPU, and makes one bundle with plans of every flavour this GPU can run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.engines.device import count_gpus

ALLOWED_GROWTH = 1.5  # over the stored figure of a baseline; a ratchet, not a tolerance
GPU_BACKENDS = ("onnxruntime-cuda", "tensorrt", "tensorrt-rtx")


def pytest_addoption(parser):
    parser.addoption(
        "--record-baselines",
        action="store_true",
        default=False,
        help="write the figures of this GPU to tests/gpu/baselines instead of comparing with them",
    )


def pytest_collection_modifyitems(items):
    if count_gpus() > 0:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU, or no driver, in this machine"))


@pytest.fixture(scope="session")
def gpu():
    from glow_deploy.engines.cuda import Cuda

    return Cuda(0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, perturbed_glow):
    pytest.importorskip("torch", reason="the reference model needs torch")
    from glow_core import GlowConfig, save_checkpoint

    path = tmp_path_factory.mktemp("gpu") / "ckpt.pt"
    save_checkpoint(perturbed_glow(GlowConfig(image_size=(16, 16), levels=3, steps=8, width=64, n_bits=5)), path)
    return path


@pytest.fixture(scope="session")
def bundle(checkpoint):
    """The exported bundle, not compiled yet."""
    from glow_deploy.export import ExportSettings, export

    return export(checkpoint, out=checkpoint.with_name("bundle"), settings=ExportSettings(golden=64)).path


@pytest.fixture(scope="session")
def problems(bundle, gpu) -> dict[str, str]:
    """Compile the bundle for every flavour; why a backend cannot be tested here, by name."""
    from glow_deploy.compile import RTX_GPUS, CompileSettings, compile_bundle
    from glow_deploy.engines.device import Device
    from glow_deploy.engines.onnxruntime import cuda_problem
    from glow_deploy.errors import MissingDependencyError

    found = {}
    problem = cuda_problem(Device("cuda"))
    if problem is not None:
        found["onnxruntime-cuda"] = problem
    try:
        compile_bundle(bundle, settings=CompileSettings(flavor="tensorrt", opt_batch=4, max_batch=8))
    except MissingDependencyError as error:
        found["tensorrt"] = str(error)
    if gpu.target not in RTX_GPUS:
        found["tensorrt-rtx"] = f"TensorRT for RTX has no target {gpu.target} ({gpu.name})"
        return found
    try:
        compile_bundle(bundle, settings=CompileSettings(gpus=(gpu.target,), opt_batch=4, max_batch=8))
    except MissingDependencyError as error:
        found["tensorrt-rtx"] = str(error)
    return found


@pytest.fixture(params=GPU_BACKENDS)
def backend(request, problems) -> str:
    """Every GPU backend in turn; skipped with the reason where it cannot run."""
    if request.param in problems:
        pytest.skip(problems[request.param])
    return request.param


@pytest.fixture
def compile_for(gpu):
    """`compile_for(bundle, backend)` compiles a bundle's graphs as that backend needs them."""
    from glow_deploy.compile import CompileSettings, compile_bundle

    def build(bundle: Path, backend: str) -> None:
        if backend == "tensorrt":
            compile_bundle(bundle, settings=CompileSettings(flavor="tensorrt", opt_batch=4, max_batch=8))
        elif backend == "tensorrt-rtx":
            compile_bundle(bundle, settings=CompileSettings(gpus=(gpu.target,), opt_batch=4, max_batch=8))

    return build


@pytest.fixture
def spoilt(bundle, backend, tmp_path, compile_for):
    """`spoilt(change)` copies the bundle with changed weights, signed again and compiled for the backend under test.

    `change(name, weight, role)` returns the new weight, or None to leave it.
    """

    def make(change):
        import onnx

        target = tmp_path / "spoilt"
        target.mkdir()
        for name in ("manifest.json", "encoder.onnx", "decoder.onnx", "golden.npz"):
            shutil.copy(bundle / name, target)
        manifest = json.loads((target / "manifest.json").read_text())
        changed = 0
        for role in ("encoder", "decoder"):
            path = target / f"{role}.onnx"
            model = onnx.load(path)
            for tensor in model.graph.initializer:
                array = change(tensor.name, onnx.numpy_helper.to_array(tensor).copy(), role)
                if array is not None:
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
                    changed += 1
            path.write_bytes(model.SerializeToString())
            manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        assert changed, "no weight was changed"
        (target / "manifest.json").write_text(json.dumps(manifest))
        compile_for(target, backend)
        return target

    return make


@pytest.fixture
def engine_file(bundle, backend):
    """`engine_file(role)` is the file of the backend under test."""
    suffix = {"onnxruntime-cuda": ".onnx", "tensorrt": ".trt", "tensorrt-rtx": ".rtx.trt"}[backend]
    return lambda role: bundle / f"{role}{suffix}"


@pytest.fixture(scope="session")
def golden(bundle):
    from glow_deploy.artifact.bundle import Bundle

    return Bundle.open(bundle).golden()


@pytest.fixture(scope="session")
def worse():
    """`worse(figures, baseline)` lists the cells whose figures grew beyond what is allowed, or which are gone."""

    def compare(figures: dict, baseline: dict) -> list[str]:
        found = []
        for cell, kept in baseline.items():
            if cell not in figures:
                found.append(f"{cell}: no longer measured")
                continue
            for key, value in kept.items():
                if not figures[cell][key] <= ALLOWED_GROWTH * value:
                    found.append(f"{cell}: {key} {value:.3g} -> {figures[cell][key]:.3g}")
        return found

    return compare


@pytest.fixture(scope="session")
def grown(worse):
    """`grown(figures, path, model_id)` is `worse` than the baseline in a file; None if it has none of this model."""

    def compare(figures: dict, path: Path, model_id: str) -> list[str] | None:
        stored = json.loads(path.read_text()) if path.exists() else {}
        return worse(figures, stored["figures"]) if stored.get("model_id") == model_id else None

    return compare
