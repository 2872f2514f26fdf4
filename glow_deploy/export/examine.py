"""Examining a trained model and its graphs before they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import UnsoundModelError
from .coded import Coded
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint

    from .build import Graphs
    from .reference import Reference
    from .selfcheck import SelfCheck

__all__ = ["Findings", "Report", "examine", "is_finite", "yardstick"]

# Together six images, which make batches of 1, 2 and 3. Golden images are repeated where there are too few: their
# float64 results are there already, while those of a perturbed one take long for a large model.
_CHECKED = 5
_PERTURBED = 1
_SEED = 0


class Report(Protocol):
    """Told where the examination stands."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """`done` of `total` units of `stage` are finished."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the examination before writing found; None for what could not be examined.

    Attributes:
        golden: the float64 model on the golden images.
        single: the float32 model on them.
        source: of the golden images.
        check: the graphs in ONNX Runtime.
        problems: why the model should not be exported, in words.
    """

    golden: Coded | None = None
    single: Coded | None = None
    source: str | None = None
    check: SelfCheck | None = None
    problems: list[str]


def examine(
    stored: Checkpoint,
    reference: Reference,
    graphs: Callable[[], Graphs],
    settings: ExportSettings,
    report: Report,
) -> Findings:
    """Run the model in float64 and float32 and its graphs in ONNX Runtime, and judge them.

    Args:
        stored: for the images it carries.
        reference: the trained model.
        graphs: gives the graphs once they are built.
        settings: where images come from; under `force` a model that cannot even be sampled is no error.
        report: told the stages.

    Raises:
        DataError: the images do not fit the model.
        UnsoundModelError: there are no images but the model's own samples, and those are not finite.
    """
    from .images import choose_images

    try:
        images = choose_images(stored, reference, settings)
    except UnsoundModelError as error:
        if not settings.force:
            raise
        return Findings(problems=[str(error)])
    # In one go with the golden images, which is faster than by itself.
    x = np.concatenate((images.x, _perturb(images.x[:_PERTURBED], reference.config.n_bits)))
    y = None if images.y is None else np.concatenate((images.y, images.y[:_PERTURBED]))
    double = reference.code("fp64", x, y, progress=lambda done: report("float64 reference", done, len(x)))
    report("float32 yardstick")
    float32 = reference.code("fp32", x, y)
    count = len(images.x)
    golden, single = double.rows(range(count)), float32.rows(range(count))
    problems = _judge_model(golden, single, reference.config.n_bits)
    report("checking the graphs in ONNX Runtime")
    check = None
    if not problems:
        rows = [*(index % count for index in range(_CHECKED)), *range(count, len(x))]
        check = _self_check(graphs(), double.rows(rows), float32.rows(rows), settings)
    if check is not None:
        problems += [
            f"{gate.measure}: {gate.statistic} {gate.value:.2e}, limit {gate.limit:.2e}" for gate in check.failures
        ]
    return Findings(golden=golden, single=single, source=images.source, check=check, problems=problems)


def _judge_model(golden: Coded, single: Coded, n_bits: int) -> list[str]:
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


def _self_check(graphs: Graphs, reference: Coded, single: Coded, settings: ExportSettings) -> SelfCheck:
    from .selfcheck import check_graphs, code_images

    obtained, batches = code_images(graphs.encoder, graphs.decoder, reference)
    return check_graphs(
        graphs=obtained,
        batches=batches,
        reference=reference,
        single=single,
        n_bits=graphs.encoder.n_bits,
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


def yardstick(reference: Reference, golden: Coded | None, single: Coded | None) -> dict[str, Any] | None:
    """Measure the float32 model against the float64 one on the golden images; None if either is not finite."""
    if golden is None or single is None or not (is_finite(golden) and is_finite(single)):
        return None
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


def is_finite(coded: Coded) -> bool:
    """Tell whether all that a model gave is finite."""
    return all(bool(np.isfinite(array).all()) for array in (*coded.z, coded.log_prob, coded.x_hat))
