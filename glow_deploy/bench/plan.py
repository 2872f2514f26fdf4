"""Which engines a benchmark runs, and how much arithmetic they do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.artifact.flavors import BACKEND_FLAVORS, SUFFIXES, graph_backend, installed_backends
from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.protocol import Engine, Role

from .settings import BenchSettings

if TYPE_CHECKING:
    import onnx

    # What reads each graph, when its turn comes: of a bundle the bytes that its manifest describes.
    Graphs = dict[Role, Callable[[], onnx.ModelProto]]

__all__ = ["Candidate", "arithmetic", "plan_bundle", "plan_file"]

_SUFFIXES = {
    "onnxruntime-cpu": SUFFIXES["onnx"],
    "onnxruntime-cuda": SUFFIXES["onnx"],
    **{name: SUFFIXES[flavor] for name, flavor in BACKEND_FLAVORS.items()},
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An engine that may be timed: opened only when its turn comes."""

    backend: str
    asked_for: bool
    open: Callable[[], Engine]


def plan_bundle(path: Path, settings: BenchSettings, ckpt: str | Path | None) -> tuple[list[Candidate], Graphs]:
    """Return the engines of a bundle to try, and its graphs by role.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: an unknown backend, a PyTorch backend without a checkpoint, or a checkpoint of another model.
    """
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.engines.open import open_engine
    from glow_deploy.engines.trained import Trained
    from glow_deploy.verify.backends.backend import BACKENDS, KNOWN, REFERENCE, SIMULATED, YARDSTICK

    bundle = Bundle.open(path)
    known = tuple(name for name in KNOWN if name != SIMULATED)  # how fast a simulation is tells nothing
    for name in settings.backends or ():
        if name not in known and name not in installed_backends():
            choices = ", ".join((*known, *installed_backends()))
            raise UsageError(f"there is no backend {name!r} to measure; choose from {choices}")
        if name in (REFERENCE, YARDSTICK) and ckpt is None:
            raise UsageError(f"{name} needs the checkpoint the bundle was exported from: give ckpt=")

    trained = None if ckpt is None else Trained.of(bundle, ckpt)

    def open_backend(name: str, role: Role) -> Engine:
        if name in (REFERENCE, YARDSTICK):
            from glow_deploy.engines.pytorch import open_pytorch

            assert trained is not None
            pair = open_pytorch(trained, precision="fp64" if name == REFERENCE else "fp32", device="cpu")
            return pair[0] if role == "encoder" else pair[1]
        file = path / f"{role}{_SUFFIXES.get(name, SUFFIXES['onnx'])}"
        if not file.is_file():
            raise MissingDependencyError(
                f"{file} does not exist: run `glow-deploy compile {path} --flavor {BACKEND_FLAVORS[name]}`"
            )
        cuda = settings.device if settings.device.startswith("cuda") else "cuda"
        return open_engine(
            file,
            backend=graph_backend(name),
            device="auto" if graph_backend(name) != "auto" else "cpu" if name == "onnxruntime-cpu" else cuda,
            trust_engine=settings.trust_engine,
            threads=settings.threads,
            cuda_graphs=settings.cuda_graphs,
        )

    names = settings.backends or tuple(
        name
        for name in known
        if name in BACKENDS
        and (ckpt is not None or name not in (REFERENCE, YARDSTICK))
        and (settings.device != "cpu" or name in (REFERENCE, YARDSTICK, "onnxruntime-cpu"))
    )
    if trained is not None and {REFERENCE, YARDSTICK} & {*names}:
        from glow_deploy.engines.pytorch import read_model

        with suppress(MissingDependencyError):  # which is told when its turn comes
            read_model(trained)  # before minutes are spent on other engines
    plan = [
        Candidate(backend=name, asked_for=settings.backends is not None, open=partial(open_backend, name, role))
        for name in names
        for role in settings.roles
    ]
    return plan, {role: partial(bundle.graph, f"{role}.onnx") for role in settings.roles}


def plan_file(path: Path, settings: BenchSettings, ckpt: str | Path | None) -> tuple[list[Candidate], Graphs]:
    """Return one engine file to try, and the graph to count its arithmetic in: itself, or the ONNX file beside a plan.

    Raises:
        UsageError: options that only a bundle can have.
    """
    from glow_deploy.artifact.lint import read_model
    from glow_deploy.engines.open import open_engine
    from glow_deploy.inspect.file import recognise

    if ckpt is not None or settings.backends is not None:
        raise UsageError("backends= and ckpt= go with a bundle; a lone engine file has only its own backend")
    kind = recognise(path)
    open_file = partial(
        open_engine,
        path,
        device=settings.device,
        trust_engine=settings.trust_engine,
        threads=settings.threads,
        cuda_graphs=settings.cuda_graphs,
    )
    graphs: Graphs = {}
    beside = path if kind == "onnx" else path.parent / f"{path.name.partition('.')[0]}.onnx"
    if beside.is_file():
        props = {entry.key: entry.value for entry in read_model(beside).metadata_props}
        role = props.get("glow_deploy.role")
        if role in ("encoder", "decoder"):
            graphs["encoder" if role == "encoder" else "decoder"] = partial(read_model, beside)
    return [Candidate(backend=path.name, asked_for=True, open=open_file)], graphs


def arithmetic(graphs: Graphs, largest_batch: int) -> tuple[dict[Role, int], list[tuple[int, int, int]]]:
    """Return the operations per image of each graph, and the sizes of the products that make up most of them."""
    from glow_deploy.inspect.flops import convolutions

    flops: dict[Role, int] = {}
    work: dict[tuple[int, int, int], int] = {}
    for role, read in graphs.items():
        found = convolutions(read())
        flops[role] = sum(convolution.flops for convolution in found)
        for convolution in found:
            shape = (convolution.rows, convolution.inner, convolution.columns * largest_batch)
            work[shape] = work.get(shape, 0) + convolution.flops
    return flops, sorted(work, key=lambda shape: -work[shape])[:2]
