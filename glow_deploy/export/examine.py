"""Examining a trained model and its graphs before they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..bundle import DECODER, ENCODER
from ..errors import UnsoundModelError
from .coded import Coded
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint

    from .images import GoldenImages
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
    graphs: Mapping[str, bytes],
    settings: ExportSettings,
    report: Report,
) -> Findings:
    """Run the model in float64 and float32 and its graphs in ONNX Runtime, and judge them.

    Args:
        stored: for the images it carries.
        reference: the trained model.
        graphs: file name -> content.
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
    disturbed = _perturb(images.x[:_PERTURBED], reference.config.n_bits)
    y = None if images.y is None else images.y[:_PERTURBED]
    expected = golden.rows(rows).followed_by(reference.code("fp64", disturbed, y))
    base = single.rows(rows).followed_by(reference.code("fp32", disturbed, y))
    with (
        open_onnx(graphs[ENCODER], device="cpu", source=ENCODER) as encoder,
        open_onnx(graphs[DECODER], device="cpu", source=DECODER) as decoder,
    ):
        obtained, batches = code_images(encoder, decoder, expected)
    return check_graphs(
        graphs=obtained,
        batches=batches,
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
