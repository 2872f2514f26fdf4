"""From a checkpoint to a bundle: fold, build, check, write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_core.errors import GlowCoreError
from glow_deploy._version import __version__
from glow_deploy.artifact.bundle import GOLDEN, Bundle, Manifest
from glow_deploy.artifact.bundle_writer import BundleWriter, check_bundle_target
from glow_deploy.artifact.exported import ExportFigures, SelfCheckFigures
from glow_deploy.artifact.folders import check_writable
from glow_deploy.artifact.golden import Golden, golden_bytes
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import CheckpointError, DataError, MissingDependencyError, UnsoundModelError
from glow_deploy.exact.build import refuse_affine
from glow_deploy.progress import StageProgress
from glow_deploy.runtime import import_onnxruntime

from .build import WrittenGraph, build_graphs
from .exact import Prepared, examine_exact, images_wanted, prepare_exact, write_exact
from .examine import Findings, RunGraphs, examine, is_finite
from .reading import origin_notes, suspected_misreading
from .settings import CALIBRATION_IMAGES, ExportSettings
from .sixteen_bit import examine_narrow

if TYPE_CHECKING:
    from glow_core import Checkpoint
    from glow_core.checkpoint import Origin
    from glow_deploy.folding import FoldedGlow
    from glow_deploy.protocol import Role

    from .coded import Coded
    from .images import GoldenImages
    from .plan import Planned
    from .reference import TrainedReference
    from .selfcheck import SelfCheck

__all__ = ["run_export"]

_ADVICE = "train it further with the bounded scale"
_NARROW_ADVICE = "choose another precision="
_UNTRAINED = "actnorm was never initialised: is this model trained?"


def run_export(path: Path, target: Path, *, settings: ExportSettings, progress: StageProgress | None = None) -> Bundle:
    """Do what `glow_deploy.export` says."""
    check_bundle_target(target, force=settings.force)
    check_writable(target)
    report = _Stages(progress)
    report("reading the checkpoint")
    with _checkpoint_errors():
        stored = _read(path, settings)
    with _checkpoint_errors(f"{path}: "):
        return _export(stored, path, target, settings, report)


def _export(stored: Checkpoint, path: Path, target: Path, settings: ExportSettings, report: _Stages) -> Bundle:
    from glow_deploy.folding.fold import fold

    from .reference import TrainedReference

    reference = TrainedReference(stored.glow(weights=settings.weights))
    if settings.precision == EXACT:
        refuse_affine(reference.config.coupling)
    # The graphs are built, written and run on one thread while torch computes the reference on all of them.
    with BundleWriter(target, force=settings.force) as writer, _one_thread() as worker:
        report("folding")
        folding = worker.submit(fold, reference.single)
        images = _images(stored, reference, folding, settings)
        exact = None
        if settings.precision == EXACT:
            exact = _prepare_exact(folding.result(), images, reference, settings, report)
        float32 = settings.precision in ("fp32", EXACT)
        planned = None if float32 else _plan(folding.result(), images, settings, report)
        plan = None if planned is None else planned.plan
        if exact is None:
            building = worker.submit(
                lambda: build_graphs(folding.result(), plan, settings.target(), writer, io=settings.io)
            )
        else:
            building = worker.submit(lambda: write_exact(folding.result(), exact, writer, settings))
        if isinstance(images, str):
            found = Findings(problems=[images])
        elif exact is not None:
            found = examine_exact(images, reference, building.result, exact, settings, report)
        elif planned is None:
            found = examine(images, reference, _runner(worker, building), settings, report)
        else:
            found = examine_narrow(images, reference, building.result, folding.result(), planned, settings, report)
        suspicion = suspected_misreading(path, stored, images, settings)
        if found.problems and not settings.force:
            advice = suspicion or (_ADVICE if planned is None and exact is None else _NARROW_ADVICE)
            raise UnsoundModelError(
                f"{path}: this model does not round-trip, so it was not exported ({'; '.join(found.problems[:3])}); "
                f"{advice}, or give force=True to export it all the same"
            )
        report("writing the bundle")
        folded, graphs = folding.result(), building.result()
        golden = None
        if settings.golden is not None and found.golden and is_finite(found.golden):
            golden = found.golden.rows(range(min(settings.golden, len(found.golden.x))))
            vectors = Golden(
                x=golden.x,
                z=golden.z,
                log_prob=golden.log_prob,
                x_hat=golden.x_hat,
                y=golden.y,
                integers=golden.integers,
            )
            writer.write(GOLDEN, golden_bytes(vectors))
        manifest = Manifest(
            model=reference.config.to_dict(),
            model_id=graphs["encoder"].facts.facts.model_id,
            weights="ema" if settings.weights == "ema" and stored.ema is not None else "raw",
            precision=settings.precision,
            tensors=_tensors(folded, exact=exact is not None),
            golden_source=None if golden is None else found.source,
            numerics=ExportFigures(
                yardstick=found.yardstick,
                self_check=None if found.check is None else _self_check(found.check),
                precision=found.precision,
                exact=found.exact,
                problems=tuple(found.problems),
                notes=(
                    *(() if reference.single.is_initialized else (_UNTRAINED,)),
                    *origin_notes(stored, found, suspicion=suspicion),
                    *found.notes,
                    *(() if isinstance(images, str) else images.notes),
                    *(() if golden is None else _uncovered(golden.y, reference.config.num_classes)),
                ),
                weights={role: dict(graph.digests) for role, graph in graphs.items()},
            ),
            versions=_versions(),
            source=None if stored.origin is None else _source(stored.origin),
        )
        return writer.finish(manifest)


def _images(
    stored: Checkpoint, reference: TrainedReference, folding: Future[FoldedGlow], settings: ExportSettings
) -> GoldenImages | str:
    """Choose the images; under `force` a model that cannot even be sampled is no error, but what is wrong in words."""
    from .images import choose_images
    from .plan import NARROW_IMAGES

    auto, float32 = settings.precision == "auto", settings.precision == "fp32"
    wanted = settings.images or CALIBRATION_IMAGES if auto else 1 if float32 else NARROW_IMAGES
    if settings.precision == EXACT:
        wanted = images_wanted(reference.config)
    try:
        images = choose_images(stored, reference, settings, at_least=wanted)
    except UnsoundModelError as error:
        folding.result()  # a model that cannot be folded is the more telling error
        if not settings.force:
            raise
        return str(error)
    folding.result()
    if auto and len(images.x) < wanted:
        raise DataError(
            f'precision="auto" is calibrated on at least {wanted} images, and {settings.data or "the checkpoint"} '
            f"gives {len(images.x)}: name a larger set with data="
        )
    return images


def _prepare_exact(
    folded: FoldedGlow,
    images: GoldenImages | str,
    reference: TrainedReference,
    settings: ExportSettings,
    report: _Stages,
) -> Prepared:
    if isinstance(images, str):
        raise UnsoundModelError(f"{images}; without images there are no ranges for integers: name some with data=")
    return prepare_exact(folded, images, reference, settings, report)


def _plan(folded: FoldedGlow, images: GoldenImages | str, settings: ExportSettings, report: _Stages) -> Planned:
    from .plan import make_plan

    if isinstance(images, str):
        raise UnsoundModelError(f'{images}; without images no graphs in 16 bit can be judged: give precision="fp32"')
    planned = make_plan(folded, images, settings, report)
    assert planned is not None
    return planned


def _runner(worker: ThreadPoolExecutor, building: Future[Mapping[Role, WrittenGraph]]) -> RunGraphs:
    """What runs the graphs on images, on the same thread that builds them."""

    def run(x: np.ndarray, y: np.ndarray | None) -> tuple[Coded, tuple[int, ...]]:
        from .selfcheck import code_images

        graphs = building.result()
        return code_images(graphs["encoder"].open, graphs["decoder"].open, x, y)

    return lambda x, y: worker.submit(run, x, y).result


@contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that what comes out of the block, an error or not, leaves with nothing more to do."""
    worker = ThreadPoolExecutor(max_workers=1)
    try:
        yield worker
    finally:
        worker.shutdown(cancel_futures=True)


class _Stages:
    """Forwards to the caller's progress, if there is one."""

    def __init__(self, progress: StageProgress | None) -> None:
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


def _read(path: Path, settings: ExportSettings) -> Checkpoint:
    try:
        from glow_core import read_checkpoint
    except ImportError as error:
        raise MissingDependencyError("export needs torch: pip install 'glow-deploy[train]'") from error
    return read_checkpoint(path, options=settings.options, mmap=True)


def _source(origin: Origin) -> dict[str, Any]:
    return {"project": origin.project, "options": dict(origin.options)}


def _uncovered(y: np.ndarray | None, classes: int | None) -> list[str]:
    """Say which classes no golden image is of: what only they use is checked by its weights alone."""
    if classes is None or y is None:
        return []
    missing = np.setdiff1d(np.arange(classes), y)
    if not len(missing):
        return []
    shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
    return [
        f"no golden image is of class {shown}: {classes - len(missing)} of {classes} classes are covered; the others "
        f"are never run by verify, and only their weights are compared: give --golden {classes} or more, with images "
        "of every class, to cover all"
    ]


def _self_check(check: SelfCheck) -> SelfCheckFigures:
    return SelfCheckFigures(
        backend="onnxruntime-cpu",
        batches=tuple(sorted(set(check.batches))),
        max_error=check.max_errors,
        passed=not check.failures,
    )


def _tensors(folded: FoldedGlow, *, exact: bool) -> dict[str, Any]:
    def spec(dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"dtype": dtype, "shape": list(shape)}

    x = {"x": spec("float32", folded.image_shape)}
    z = {f"z{level}": spec("float32", shape) for level, shape in enumerate(folded.latent_shapes, start=1)}
    y = {} if folded.num_classes is None else {"y": spec("int64", ())}
    log_prob = {"log_prob": spec("float32", ())}
    if exact:
        normal = {name.replace("z", "normal"): spec for name, spec in z.items()}
        inside = {"in_range": spec("float32", ())}
        return {
            "encoder": {"inputs": x | y, "outputs": z | normal | log_prob | inside},
            "decoder": {"inputs": z | {"as_normal": spec("float32", (1, 1, 1))} | y, "outputs": x | inside},
        }
    return {
        "encoder": {"inputs": x | y, "outputs": z | log_prob},
        "decoder": {"inputs": z | y, "outputs": x},
    }


def _versions() -> dict[str, str]:
    import onnx
    import torch

    return {
        "glow-deploy": __version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": import_onnxruntime().__version__,
        "torch": str(torch.__version__),
    }
