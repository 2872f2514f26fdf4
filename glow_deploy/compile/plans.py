"""Compiling the graphs of a bundle into plans, each with a sidecar that says what it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glow_deploy.artifact.bundle import DECODER, ENCODER, while_unchanged
from glow_deploy.artifact.files import atomic_paths, read_regular, refuse_folder, refuse_overwrite, sha256_bytes
from glow_deploy.artifact.flavors import LABELS, SUFFIXES
from glow_deploy.artifact.folders import check_writable
from glow_deploy.artifact.graph_file import GraphFile, read_graph
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.artifact.plan_header import read_header
from glow_deploy.artifact.sidecar import Sidecar, sidecar_path
from glow_deploy.engines.cuda import Cuda
from glow_deploy.engines.device import parse_device
from glow_deploy.engines.open import check_manifest
from glow_deploy.engines.trt_module import import_tensorrt
from glow_deploy.errors import BundleError, CompileError, UsageError
from glow_deploy.progress import ShareProgress

from .build import build_plan
from .rtx import configure_rtx
from .settings import CompileSettings
from .tensorrt import TimingCache, configure_tensorrt

__all__ = ["CompiledPlan", "run_compile"]


@dataclass(frozen=True, kw_only=True)
class CompiledPlan:
    """A plan that was written.

    Attributes:
        path: the plan; its sidecar is `<path>.json`.
        sidecar: what it says.
        nbytes: size of the plan.
        seconds: time TensorRT took.
    """

    path: Path
    sidecar: Sidecar
    nbytes: int
    seconds: float


def run_compile(
    bundle_path: str | Path,
    *,
    settings: CompileSettings | None = None,
    force: bool = False,
    progress: ShareProgress | None = None,
) -> tuple[CompiledPlan, ...]:
    """Do what `glow_deploy.compile` says."""
    settings = settings or CompileSettings()
    sources = _graphs(Path(bundle_path))
    graphs = list(sources)
    plans = [graph.with_suffix(SUFFIXES[settings.flavor]) for graph in graphs]
    for path in (*plans, *map(sidecar_path, plans)):
        refuse_overwrite(path, force=force)
        refuse_folder(path)
    check_writable(graphs[0].parent)
    trt = import_tensorrt(settings.flavor)
    gpus = settings.targets
    cache: TimingCache | None = None
    if settings.flavor == "tensorrt":
        gpus = (_gpu(settings).target,)
        cache = TimingCache(settings.timing_cache)
    compiled = []
    with ExitStack() as stack:
        # In this order: every plan is renamed before the first sidecar, which vouches for it.
        places = stack.enter_context(atomic_paths([*plans, *map(sidecar_path, plans)]))
        targets, sidecars = places[: len(plans)], places[len(plans) :]
        for (graph, read), plan, target, sidecar in zip(sources.items(), plans, targets, sidecars, strict=True):
            result, data = _compile_one(
                read(), graph, plan, trt=trt, settings=settings, gpus=gpus, cache=cache, tell=progress
            )
            target.write_bytes(data)
            sidecar.write_text(result.sidecar.to_json(), encoding="utf-8")
            compiled.append(result)
        if cache is not None:
            cache.save(stack)
    return tuple(compiled)


def _compile_one(
    data: bytes,
    graph_path: Path,
    plan_path: Path,
    *,
    trt: Any,
    settings: CompileSettings,
    gpus: tuple[str, ...],
    cache: TimingCache | None,
    tell: ShareProgress | None,
) -> tuple[CompiledPlan, bytes]:
    graph = read_graph(data, source=str(graph_path))
    if graph.metadata.get(f"{PREFIX}exact.native") in ("bf16", "fp16"):
        raise UsageError(
            f"{graph_path}: in 16 bit TensorRT may sum in float16, multiply by Winograd's way, or round before it adds "
            "a bias, and each gives other integers: compile a bundle exported without --native"
        )
    start = time.perf_counter()
    plan = build_plan(
        data,
        graph,
        trt=trt,
        settings=settings,
        configure=_configuration(trt, settings, cache),
        source=graph_path.name,
        progress=None if tell is None else _named(tell, graph_path.stem),
        collect=None if cache is None else cache.collect,
    )
    seconds = time.perf_counter() - start
    header = read_header(plan, source=plan_path.name)
    if header.flavor != settings.flavor or (header.targets is not None and header.targets != gpus):
        raise CompileError(
            f"{LABELS[settings.flavor]} compiled {plan_path.name} for {header.flavor} {header.targets}, "
            f"not for {', '.join(gpus)} as asked"
        )
    sidecar = _describe(plan, data, graph, settings=settings, version=str(trt.__version__), gpus=gpus)
    return CompiledPlan(path=plan_path, sidecar=sidecar, nbytes=len(plan), seconds=seconds), plan


def _configuration(trt: Any, settings: CompileSettings, cache: TimingCache | None) -> Callable[[Any], None]:
    if settings.flavor == "rtx":
        return partial(configure_rtx, trt, settings=settings)

    def configure(config: Any) -> None:
        configure_tensorrt(trt, config, settings)
        if cache is not None:
            cache.attach(config)

    return configure


def _describe(
    plan: bytes, data: bytes, graph: GraphFile, *, settings: CompileSettings, version: str, gpus: tuple[str, ...]
) -> Sidecar:
    return Sidecar(
        sha256=sha256_bytes(plan),
        onnx_sha256=sha256_bytes(data),
        flavor=settings.flavor,
        version=version,
        tf32=settings.tf32,
        version_compatible=settings.version_compatible,
        hardware_compatible=settings.hardware_compatible,
        profile=settings.profile,
        gpus=gpus,
        metadata=graph.metadata,
        inputs=graph.inputs,
        outputs=graph.outputs,
    )


def _graphs(path: Path) -> dict[Path, Callable[[], bytes]]:
    """The graphs to compile, and what reads each when its turn comes; both of a bundle are of one export."""
    if path.is_dir():
        return while_unchanged(
            path, lambda bundle: {bundle.file(name): partial(bundle.read, name) for name in (ENCODER, DECODER)}
        )
    if not path.exists():
        raise BundleError(f"{path} does not exist; name a bundle folder or an .onnx file")
    if path.suffix != ".onnx":
        raise BundleError(f"{path} is neither a bundle folder nor an .onnx file")
    return {path: partial(_read, path)}


def _gpu(settings: CompileSettings) -> Cuda:
    device = parse_device(settings.device)
    if device.kind == "cpu":
        raise UsageError('standard TensorRT compiles on a GPU; use device="cuda", or flavor="rtx" without one')
    return Cuda(device.index)


def _read(path: Path) -> bytes:
    data = read_regular(path, most=SIZE_LIMIT, error=BundleError)
    check_manifest(path, data)
    return data


def _named(tell: ShareProgress, name: str) -> ShareProgress:
    return lambda phase, done: tell(f"{name}: {phase}", done)
