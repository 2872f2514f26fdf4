"""From a checkpoint to a bundle: fold, build, check, write."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from glow_core.errors import GlowCoreError

from .._version import __version__
from ..bundle import GOLDEN, Bundle, Manifest, check_bundle_target, write_bundle
from ..errors import CheckpointError, MissingDependencyError, UnsoundModelError
from ..folders import check_writable
from ..golden import Golden, golden_bytes
from .build import build_graphs
from .examine import examine, is_finite, yardstick
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint

    from ..folding import FoldedGlow
    from .selfcheck import SelfCheck

__all__ = ["Progress", "run_export"]

_UNTRAINED = "actnorm was never initialised: is this model trained?"


class Progress(Protocol):
    """Told where a long piece of work stands."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `stage` are finished."""


def run_export(path: Path, target: Path, *, settings: ExportSettings, progress: Progress | None = None) -> Bundle:
    """Do what `glow_deploy.export` says."""
    check_bundle_target(target, force=settings.force)
    check_writable(target)
    report = _Stages(progress)
    report("reading the checkpoint")
    with _checkpoint_errors():
        stored = _read(path)
    with _checkpoint_errors(f"{path}: "):
        return _export(stored, path, target, settings, report)


def _export(stored: Checkpoint, path: Path, target: Path, settings: ExportSettings, report: _Stages) -> Bundle:
    from ..folding.fold import fold
    from .reference import Reference

    reference = Reference(stored.glow(weights=settings.weights))
    report("folding")
    folded = fold(reference.single)
    # The graphs are built and loaded on one thread while torch computes the reference on all of them.
    with ThreadPoolExecutor(max_workers=1) as worker:
        building = worker.submit(build_graphs, folded, settings)
        found = examine(stored, reference, building.result, settings, report)
        graphs = building.result()
    graphs.encoder.close()
    graphs.decoder.close()
    if found.problems and not settings.force:
        raise UnsoundModelError(
            f"{path}: this model does not round-trip, so it was not exported ({'; '.join(found.problems[:3])}); "
            "train it further with the bounded scale, or give --force to export it all the same"
        )
    report("writing the bundle")
    files = dict(graphs.files)
    kept = found.golden if settings.golden is not None and found.golden and is_finite(found.golden) else None
    if kept is not None:
        files[GOLDEN] = golden_bytes(Golden(x=kept.x, z=kept.z, log_prob=kept.log_prob, x_hat=kept.x_hat, y=kept.y))
    manifest = Manifest(
        model=reference.config.to_dict(),
        model_id=graphs.model_id,
        weights="ema" if settings.weights == "ema" and stored.ema is not None else "raw",
        precision=settings.precision,
        tensors=_tensors(folded),
        golden_source=None if kept is None else found.source,
        numerics={
            "yardstick": yardstick(reference, found.golden, found.single),
            "self_check": None if found.check is None else _json_figures(found.check),
            "problems": found.problems,
            "notes": [] if reference.single.is_initialized else [_UNTRAINED],
        },
        versions=_versions(),
    )
    return write_bundle(target, manifest, files, force=settings.force)


class _Stages:
    """Forwards to the caller's progress, if there is one."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        if self._progress is not None:
            self._progress(stage, done, total)


@contextmanager
def _checkpoint_errors(prefix: str = "") -> Iterator[None]:
    """Whatever the model's own package refuses here came out of the checkpoint."""
    try:
        yield
    except GlowCoreError as error:
        raise CheckpointError(f"{prefix}{error}") from error


def _read(path: Path) -> Checkpoint:
    try:
        from glow_core import read_checkpoint
    except ImportError as error:
        raise MissingDependencyError("export needs torch: pip install 'glow-deploy[train]'") from error
    return read_checkpoint(path)


def _json_figures(check: SelfCheck) -> dict[str, Any]:
    errors = {name: value if math.isfinite(value) else None for name, value in check.max_errors.items()}
    return {
        "backend": "onnxruntime-cpu",
        "batches": sorted(set(check.batches)),
        "max_error": errors,
        "passed": not check.failures,
    }


def _tensors(folded: FoldedGlow) -> dict[str, Any]:
    def spec(dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"dtype": dtype, "shape": list(shape)}

    x = {"x": spec("float32", folded.image_shape)}
    z = {f"z{level}": spec("float32", shape) for level, shape in enumerate(folded.latent_shapes, start=1)}
    y = {} if folded.num_classes is None else {"y": spec("int64", ())}
    return {
        "encoder": {"inputs": x | y, "outputs": z | {"log_prob": spec("float32", ())}},
        "decoder": {"inputs": z | y, "outputs": x},
    }


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime
    import torch

    return {
        "glow-deploy": __version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "torch": str(torch.__version__),
    }
