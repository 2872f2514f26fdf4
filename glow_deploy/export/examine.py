"""Examining a trained model and its graphs before they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from glow_deploy.artifact.exact_figures import ExactFigures
from glow_deploy.artifact.figures import ErrorFigures, Figures
from glow_deploy.artifact.sixteen_bit import PrecisionFigures

from .coded import Coded
from .selfcheck import SelfCheck, check_graphs
from .settings import ExportSettings

if TYPE_CHECKING:
    from .images import GoldenImages
    from .reference import TrainedReference

__all__ = ["Findings", "Report", "RunGraphs", "examine", "is_finite", "judge_model", "measure_yardstick"]

# Together six images, which make batches of 1, 2 and 3. Golden images are repeated where there are too few: their
# float64 results are there already, while those of a perturbed one take long for a large model.
_CHECKED = 5
_PERTURBED = 1
_SEED = 0


class RunGraphs(Protocol):
    """Starts to run the graphs on images."""

    def __call__(self, x: np.ndarray, y: np.ndarray | None) -> Callable[[], tuple[Coded, tuple[int, ...]]]:
        """Return what waits for the results and the batch sizes run."""


class Report(Protocol):
    """Told where the examination stands."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """`done` of `total` units of `stage` are finished."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the examination before writing found; None for what could not be examined.

    Attributes:
        golden: the float64 model on the golden images.
        yardstick: the float32 model's errors on them.
        source: of the golden images.
        check: the graphs in ONNX Runtime.
        precision: what graphs in 16 bit gave.
        exact: what was proven and measured of graphs of integers.
        problems: why the model should not be exported, in words.
        notes: what a reader of the manifest should know.
    """

    golden: Coded | None = None
    yardstick: ErrorFigures | None = None
    source: str | None = None
    check: SelfCheck | None = None
    precision: PrecisionFigures | None = None
    exact: ExactFigures | None = None
    problems: list[str]
    notes: tuple[str, ...] = ()


def examine(
    images: GoldenImages,
    reference: TrainedReference,
    run_graphs: RunGraphs,
    settings: ExportSettings,
    report: Report,
) -> Findings:
    """Run the model in float64 and float32, and judge it and what its graphs make of the same images.

    Args:
        images: the golden images.
        reference: the trained model.
        run_graphs: starts to run the graphs on images; what it returns waits for the results.
        settings: for the precision of the graphs.
        report: told the stages.

    Raises:
        EngineError: ONNX Runtime cannot run a graph.
    """
    n_bits = reference.config.n_bits
    # In one go with the golden images, which is faster than by itself.
    x = np.concatenate((images.x, _perturb(images.x[:_PERTURBED], n_bits)))
    y = None if images.y is None else np.concatenate((images.y, images.y[:_PERTURBED]))
    count = len(images.x)
    rows = [*(index % count for index in range(_CHECKED)), *range(count, len(x))]
    finish = run_graphs(x[rows], None if y is None else y[rows])
    double = reference.code("fp64", x, y, progress=lambda done: report("float64 reference", done, len(x)))
    report("float32 yardstick")
    float32 = reference.code("fp32", x, y)
    golden, single = double.rows(range(count)), float32.rows(range(count))
    figures = measure_yardstick(reference, golden, single)
    problems = judge_model(golden, single, n_bits)
    check = None
    if not problems:
        report("checking the graphs in ONNX Runtime")
        graphs, batches = finish()
        check = check_graphs(
            graphs=graphs,
            batches=batches,
            reference=double.rows(rows),
            single=float32.rows(rows),
            n_bits=n_bits,
            precision=settings.precision,
        )
        problems += [
            f"{gate.quantity}: {gate.statistic} {gate.value:.2e}, limit {gate.limit:.2e}" for gate in check.failures
        ]
    return Findings(golden=golden, yardstick=figures, source=images.source, check=check, problems=problems)


def judge_model(golden: Coded, single: Coded, n_bits: int) -> list[str]:
    """Say what is wrong with the trained model itself, whatever the graphs do."""
    half = 2.0 ** -(n_bits + 1)
    problems = []
    for name, coded in (("float64", golden), ("float32", single)):
        if not is_finite(coded):
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


def _perturb(x: np.ndarray, n_bits: int) -> np.ndarray:
    """Move every value within its bin, and one pixel in a hundred to anywhere: images nobody chose."""
    generator = np.random.default_rng(_SEED)
    bins = 2**n_bits
    moved = np.floor(x * bins) / bins + generator.random(x.shape) / bins
    anywhere = generator.random(x.shape) < 0.01
    disturbed = np.where(anywhere, generator.random(x.shape), moved)
    inside: np.ndarray = np.clip(disturbed, 0.0, 1 - 2**-24).astype(np.float32)
    return inside


def measure_yardstick(reference: TrainedReference, golden: Coded, single: Coded) -> ErrorFigures | None:
    """Measure the float32 model against the float64 one on the golden images; None if either is not finite."""
    if not (is_finite(golden) and is_finite(single)):
        return None
    from glow_deploy.images import bits_per_dim
    from glow_deploy.numerics.measures import summarize

    config = reference.config
    bits = [bits_per_dim(part.log_prob, dims=config.dims, n_bits=config.n_bits) for part in (single, golden)]
    again = reference.encode_again(single)
    return ErrorFigures(
        n=len(golden.x),
        x_hat=Figures.of(summarize(single.x_hat, golden.x)),
        z=tuple(Figures.of(summarize(*pair)) for pair in zip(single.z, golden.z, strict=True)),
        bits_per_dim=Figures.of(summarize(bits[0], bits[1])),
        zxz=tuple(Figures.of(summarize(*pair)) for pair in zip(again, single.z, strict=True)),
    )


def is_finite(coded: Coded) -> bool:
    """Tell whether all that a model gave is finite."""
    return all(bool(np.isfinite(array).all()) for array in (*coded.z, coded.log_prob, coded.x_hat))
