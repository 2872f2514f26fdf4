"""The canary on the backends of this package, opened by the same code and settings as a model's engines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.artifact.flavors import graph_backend
from glow_deploy.errors import GlowDeployError, UsageError

from .detect import detect
from .graph import INPUT, OUTPUT, canary_graph
from .integer_verdict import IntegerResult, judge_integers
from .integers import make_integers
from .operands import BATCH, make_canary
from .report import CanaryResult, CanaryUnavailable

if TYPE_CHECKING:
    from glow_deploy.compile.settings import CompileSettings
    from glow_deploy.engines.cuda import Cuda
    from glow_deploy.protocol import Engine

__all__ = ["canary_for", "canary_on_server", "compile_canary", "integers_for", "integers_on_server", "open_canary"]

_SOURCE = "the canary"


def canary_for(
    backend: str, *, device: str = "auto", plan: str | Path | None = None
) -> CanaryResult | CanaryUnavailable:
    """Find out what a backend computes float32 convolutions in.

    ONNX Runtime and OpenVINO get the session that a model gets. For TensorRT the canary is compiled with the flags that
    the plan's sidecar records (TF32, version and hardware compatibility), in memory, for the GPU here; it takes a
    second or a few, and the optimization level and timing cache that the plan was compiled with are not known.

    Args:
        backend: `onnxruntime-cpu`, `onnxruntime-cuda`, one of OpenVINO's names or of an installed package's, `tensorrt`
            or `tensorrt-rtx`. For any other, such as a PyTorch model, call `detect` with a function that runs the
            convolutions.
        device: `auto` or `cuda` for the first GPU, `cuda:N`; ONNX Runtime's CPU backend and OpenVINO run where their
            names say.
        plan: the plan under test, whose sidecar is read; None for a plan compiled with TF32 off.

    Returns:
        What was detected, or why the canary could not be run: no package, GPU, sidecar, ...
    """
    try:
        engine = _open(backend, device=device, plan=None if plan is None else Path(plan))
        if isinstance(engine, CanaryUnavailable):
            return engine
        with engine:
            return detect(lambda x: engine.run({INPUT: x})[OUTPUT])
    except GlowDeployError as error:
        return CanaryUnavailable(reason=str(error))


def integers_for(
    backend: str, *, device: str = "auto", plan: str | Path | None = None
) -> IntegerResult | CanaryUnavailable:
    """Find out whether a backend convolves integers exactly, as exact graphs need it, and if not, why not.

    Args:
        backend: see `canary_for`.
        device: likewise.
        plan: likewise.

    Returns:
        What was found, or why the canary could not be run.
    """
    try:
        data = canary_graph(make_integers())
        engine = _open(backend, device=device, plan=None if plan is None else Path(plan), data=data)
        if isinstance(engine, CanaryUnavailable):
            return engine
        with engine:
            return judge_integers(lambda x: engine.run({INPUT: x})[OUTPUT])
    except GlowDeployError as error:
        return CanaryUnavailable(reason=str(error))


def canary_on_server(backend: str, *, timeout: float = 60.0) -> CanaryResult | CanaryUnavailable:
    """Find out what a server computes float32 convolutions in, from the canary that it serves beside a model.

    Args:
        backend: its name, `triton=HOST:PORT`.
        timeout: seconds for one answer.

    Returns:
        What was detected, or why nothing could be: the server serves no canary, or is gone.
    """
    from glow_deploy.engines.remote import remote_canary
    from glow_deploy.kserve import KServeClient, parse_remote

    address = parse_remote(backend)
    try:
        with KServeClient(address, timeout=timeout) as client:
            run = remote_canary(address, client=client)
            if run is None:
                return CanaryUnavailable(reason=f"{address.host} serves no model {address.name}-canary")
            return detect(run)
    except GlowDeployError as error:
        return CanaryUnavailable(reason=str(error))


def integers_on_server(backend: str, *, timeout: float = 60.0) -> IntegerResult | CanaryUnavailable:
    """Find out whether a server convolves integers exactly, from the canary of integers beside an exact model.

    Args:
        backend: its name, `triton=HOST:PORT`.
        timeout: seconds for one answer.

    Returns:
        What was found, or why nothing could be.
    """
    from glow_deploy.engines.remote import remote_canary
    from glow_deploy.kserve import KServeClient, parse_remote

    address = parse_remote(backend)
    try:
        with KServeClient(address, timeout=timeout) as client:
            run = remote_canary(address, client=client, role="integers")
            if run is None:
                return CanaryUnavailable(reason=f"{address.host} serves no model {address.name}-integers")
            return judge_integers(run)
    except GlowDeployError as error:
        return CanaryUnavailable(reason=str(error))


def open_canary(backend: str, *, device: str = "auto", threads: int | None = None, integers: bool = False) -> Engine:
    """Open the canary as an engine of a backend that runs graphs, to be served beside a model.

    Args:
        backend: see `canary_for`.
        device: likewise.
        threads: CPU threads; None leaves the choice to the engine.
        integers: open that of exact integers.

    Raises:
        UsageError: the backend runs plans, or there is none of that name.
        MissingDependencyError: the backend cannot be used here.
    """
    data = canary_graph(make_integers() if integers else make_canary())
    engine = _open(backend, device=device, plan=None, threads=threads, data=data)
    if isinstance(engine, CanaryUnavailable):
        raise UsageError(engine.reason)
    return engine


def compile_canary(settings: CompileSettings, *, data: bytes | None = None) -> bytes:
    """Compile the canary's graph with these settings and return the plan.

    Args:
        settings: flavour, TF32 and compatibility; the batches that they name are replaced by the canary's own.
        data: the graph of another canary, for batches of the same size.

    Raises:
        CompileError: TensorRT refuses the graph or an option.
        MissingDependencyError: the package of the flavour is not there.
    """
    from glow_deploy.artifact.graph_file import read_graph
    from glow_deploy.compile.build import build_plan
    from glow_deploy.compile.rtx import configure_rtx
    from glow_deploy.compile.tensorrt import configure_tensorrt
    from glow_deploy.engines.trt_module import import_tensorrt

    trt = import_tensorrt(settings.flavor)
    settings = replace(settings, min_batch=1, opt_batch=BATCH, max_batch=BATCH)
    configure = configure_rtx if settings.flavor == "rtx" else configure_tensorrt
    data = data or canary_graph(make_canary())
    return build_plan(
        data,
        read_graph(data, source=_SOURCE),
        trt=trt,
        settings=settings,
        configure=partial(configure, trt, settings=settings),
        source=_SOURCE,
    )


def _open(
    backend: str, *, device: str, plan: Path | None, threads: int | None = None, data: bytes | None = None
) -> Engine | CanaryUnavailable:
    data = data or canary_graph(make_canary())
    match backend:
        case "onnxruntime-cpu" | "onnxruntime-cuda":
            from glow_deploy.engines.onnxruntime import open_onnx

            where = "cpu" if backend == "onnxruntime-cpu" else _gpu(device)
            return open_onnx(data, device=where, source=_SOURCE, threads=threads)
        case "tensorrt" | "tensorrt-rtx":
            return _open_plan(backend, data, device=_gpu(device), plan=plan)
        case _ if graph_backend(backend) != "auto":
            from glow_deploy.engines.open import open_graph

            return open_graph(data, backend=backend, source=_SOURCE, threads=threads)
        case _:
            return CanaryUnavailable(
                reason=f"there is no canary for {backend} here; `detect` takes a function of yours"
            )


def _open_plan(backend: str, data: bytes, *, device: str, plan: Path | None) -> Engine | CanaryUnavailable:
    from glow_deploy.artifact.graph_file import read_graph
    from glow_deploy.engines.cuda import Cuda
    from glow_deploy.engines.device import parse_device
    from glow_deploy.engines.tensorrt import TensorRTEngine
    from glow_deploy.engines.trt_module import import_tensorrt

    cuda = Cuda(parse_device(device).index)
    settings = _settings(backend, plan, cuda=cuda)
    if isinstance(settings, CanaryUnavailable):
        return settings
    # In memory from the compiler to the runtime: there is no file that anyone could have changed.
    return TensorRTEngine(
        compile_canary(settings, data=data),
        trt=import_tensorrt(settings.flavor),
        cuda=cuda,
        flavor=settings.flavor,
        facts=read_graph(data, source=_SOURCE).facts,
        tf32=settings.tf32,
        source=_SOURCE,
    )


def _settings(backend: str, plan: Path | None, *, cuda: Cuda) -> CompileSettings | CanaryUnavailable:
    """The flags that the plan under test was compiled with, for the GPU here."""
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.artifact.sidecar import read_sidecar
    from glow_deploy.compile.settings import CompileSettings

    tf32 = version_compatible = hardware_compatible = False
    if plan is not None:
        sidecar = read_sidecar(plan)
        if sidecar is None or not plan.is_file() or sha256_file(plan) != sidecar.sha256:
            return CanaryUnavailable(
                reason=f"{plan} has no sidecar that matches it, so nothing says with which flags it was compiled"
            )
        tf32 = sidecar.tf32
        version_compatible, hardware_compatible = sidecar.version_compatible, sidecar.hardware_compatible
    if backend == "tensorrt-rtx":
        return CompileSettings(flavor="rtx", gpus=(cuda.target,), tf32=tf32)
    return CompileSettings(
        flavor="tensorrt",
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        device=f"cuda:{cuda.index}",
    )


def _gpu(device: str) -> str:
    """The GPU that `auto` means here."""
    if device == "cpu":
        raise UsageError("it needs a GPU and the device asked for is the CPU")
    return device if device.startswith("cuda") else "cuda"
