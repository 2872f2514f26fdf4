"""From a checkpoint to a bundle: fold, build, check, write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._version import __version__
from ..bundle import DECODER, ENCODER, GOLDEN, Bundle, Manifest, check_bundle_target, write_bundle
from ..errors import CheckpointError, MissingDependencyError, UnsoundModelError
from ..golden import Golden, golden_bytes
from .coded import Coded
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint

    from ..folding import FoldedGlow
    from .images import GoldenImages
    from .reference import Reference
    from .selfcheck import SelfCheck

__all__ = ["Progress", "run_export"]

_CHECKED = 4  # golden images in the self-check; with the perturbed ones they make batches of 1, 2 and 3
_PERTURBED = 2
_SEED = 0


class Progress(Protocol):
    """Told where a long piece of work stands."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `stage` are finished."""


def run_export(path: Path, target: Path, *, settings: ExportSettings, progress: Progress | None = None) -> Bundle:
    """Do what `glow_deploy.export` says."""
    check_bundle_target(target, force=settings.force)
    report = _Stages(progress)

    report("reading the checkpoint")
    stored = _read(path)
    from ..folding.fold import fold
    from .images import choose_images
    from .reference import Reference

    reference = Reference(stored.glow(weights=settings.weights))
    report("folding")
    folded = fold(reference.single)
    report("building the graphs")
    model_id, graphs = _build(folded, settings)

    images = choose_images(stored, reference, settings)
    golden = reference.code(
        "fp64", images.x, images.y, progress=lambda done: report("float64 reference", done, len(images.x))
    )
    report("float32 yardstick")
    single = reference.code("fp32", images.x, images.y)
    problems = _judge_model(golden, single, reference.config.n_bits)
    report("checking the graphs in ONNX Runtime")
    check = _self_check(graphs, reference, golden, single, images, settings) if not problems else None
    if check is not None:
        problems += [
            f"{gate.measure}: {gate.statistic} {gate.value:.2e}, limit {gate.limit:.2e}" for gate in check.failures
        ]
    if problems and not settings.force:
        raise UnsoundModelError(
            f"{path}: this model does not round-trip, so it was not exported ({'; '.join(problems[:3])}); "
            "train it further with the bounded scale, or give --force to export it all the same"
        )
    report("writing the bundle")
    files = dict(graphs)
    usable = settings.golden is not None and _is_finite(golden)
    if usable:
        files[GOLDEN] = golden_bytes(
            Golden(x=golden.x, z=golden.z, log_prob=golden.log_prob, x_hat=golden.x_hat, y=golden.y)
        )
    manifest = Manifest(
        model=reference.config.to_dict(),
        model_id=model_id,
        weights="ema" if settings.weights == "ema" and stored.ema is not None else "raw",
        precision=settings.precision,
        tensors=_tensors(folded),
        golden_source=images.source if usable else None,
        numerics={
            "yardstick": _yardstick(reference, golden, single) if _is_finite(golden) and _is_finite(single) else None,
            "self_check": None if check is None else _json_figures(check),
            "problems": problems,
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


def _read(path: Path) -> Checkpoint:
    try:
        from glow_core import read_checkpoint
        from glow_core.errors import GlowCoreError
    except ImportError as error:
        raise MissingDependencyError("export needs torch: pip install 'glow-deploy[train]'") from error
    try:
        return read_checkpoint(path)
    except GlowCoreError as error:
        raise CheckpointError(str(error)) from error


def _build(folded: FoldedGlow, settings: ExportSettings) -> tuple[str, dict[str, bytes]]:
    from ..graphs.decoder import build_decoder
    from ..graphs.encoder import build_encoder
    from ..graphs.metadata import GraphMetadata
    from ..graphs.serialize import serialize

    model_id = folded.model_id()
    files = {}
    for name, role, build in ((ENCODER, "encoder", build_encoder), (DECODER, "decoder", build_decoder)):
        facts = GraphMetadata.of(
            folded,
            role="encoder" if role == "encoder" else "decoder",
            precision=settings.precision,
            model_id=model_id,
        )
        files[name] = serialize(build(folded, metadata=facts))
    return model_id, files


def _judge_model(golden: Coded, single: Coded, n_bits: int) -> list[str]:
    """Say what is wrong with the trained model itself, whatever the graphs do."""
    half = 2.0 ** -(n_bits + 1)
    problems = []
    for name, coded in (("float64", golden), ("float32", single)):
        if not _is_finite(coded):
            problems.append(f"the trained model gives non-finite values in {name} PyTorch")
            continue
        errors = np.abs(coded.x_hat.astype(np.float64) - golden.x).max(axis=(1, 2, 3))
        lost = int((errors >= half).sum())
        if lost:
            problems.append(
                f"{lost} of {len(errors)} images do not come back exactly in {name} PyTorch "
                f"(worst error {errors.max():.2e}, half a pixel step is {half:.2e})"
            )
    return problems


def _self_check(
    graphs: Mapping[str, bytes],
    reference: Reference,
    golden: Coded,
    single: Coded,
    images: GoldenImages,
    settings: ExportSettings,
) -> SelfCheck:
    from ..engines.onnxruntime import open_onnx
    from .selfcheck import check_graphs, code_images

    rows = [index % len(golden.x) for index in range(_CHECKED)]
    disturbed = _perturb(images.x[: min(_PERTURBED, len(images.x))], reference.config.n_bits)
    y = None if images.y is None else images.y[: len(disturbed)]
    expected = golden.rows(rows).followed_by(reference.code("fp64", disturbed, y))
    base = single.rows(rows).followed_by(reference.code("fp32", disturbed, y))
    with (
        open_onnx(graphs[ENCODER], device="cpu", source=ENCODER) as encoder,
        open_onnx(graphs[DECODER], device="cpu", source=DECODER) as decoder,
    ):
        obtained = code_images(encoder, decoder, expected)
    return check_graphs(
        graphs=obtained,
        reference=expected,
        single=base,
        n_bits=reference.config.n_bits,
        precision=settings.precision,
    )


def _perturb(x: np.ndarray, n_bits: int) -> np.ndarray:
    """Move every value within its bin, and one pixel in a hundred to anywhere: images nobody chose."""
    generator = np.random.default_rng(_SEED)
    bins = 2**n_bits
    moved = np.floor(x * bins) / bins + generator.random(x.shape) / bins
    anywhere = generator.random(x.shape) < 0.01
    disturbed = np.where(anywhere, generator.random(x.shape), moved)
    inside: np.ndarray = np.clip(disturbed, 0.0, 1 - 2**-24).astype(np.float32)
    return inside


def _yardstick(reference: Reference, golden: Coded, single: Coded) -> dict[str, Any]:
    """Measure the float32 model against the float64 one on the golden images."""
    from ..images import bits_per_dim
    from ..verify.measures import summarize
    from ..verify.yardstick import Figures, Yardstick

    config = reference.config
    bits = [bits_per_dim(part.log_prob, dims=config.dims, n_bits=config.n_bits) for part in (single, golden)]
    again = reference.encode_again(single)
    figures = Yardstick(
        n=len(golden.x),
        source="",
        x_hat=Figures.of(summarize(single.x_hat, golden.x)),
        z=tuple(Figures.of(summarize(*pair)) for pair in zip(single.z, golden.z, strict=True)),
        bits_per_dim=Figures.of(summarize(bits[0], bits[1])),
        zxz=tuple(Figures.of(summarize(*pair)) for pair in zip(again, single.z, strict=True)),
    ).to_dict()
    del figures["source"]
    return figures


def _json_figures(check: SelfCheck) -> dict[str, Any]:
    errors = {name: value if math.isfinite(value) else None for name, value in check.max_errors.items()}
    return {"backend": "onnxruntime-cpu", "batches": [1, 2, 3], "max_error": errors, "passed": not check.failures}


def _is_finite(coded: Coded) -> bool:
    return all(bool(np.isfinite(array).all()) for array in (*coded.z, coded.log_prob, coded.x_hat))


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
