"""Turning the precision asked for into a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.numerics.statistics import CONFIDENCE
from glow_deploy.precision.ranges import MIN_HEADROOM_BITS

from .examine import Report
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_deploy.folding import FoldedGlow
    from glow_deploy.graphs.precision_plan import PrecisionPlan
    from glow_deploy.precision.auto import AutoChoice
    from glow_deploy.precision.ranges import RangeReport

    from .images import GoldenImages

__all__ = ["NARROW_IMAGES", "PIXEL_EXACT", "Planned", "make_plan", "range_check"]

NARROW_IMAGES = 16
"""At least so many images are examined, however few are kept: of a few, one may carry all of the error."""

_RANGE_IMAGES = 64
_STRESS_IMAGES = 4  # of each kind
PIXEL_EXACT = 0.5
"""The largest error, in pixel steps, that leaves a bin centre in its bin."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the graphs are built to.

    Attributes:
        plan: what runs in 16 bit.
        choice: how it was found, for `auto`.
        tolerance: largest error of x -> z -> x promised, in pixel steps; None where nothing is.
    """

    plan: PrecisionPlan
    choice: AutoChoice | None = None
    tolerance: float | None = None


def range_check(folded: FoldedGlow, plan: PrecisionPlan, x: np.ndarray, y: np.ndarray | None) -> RangeReport:
    """Look at every tensor that a plan holds in 16 bit, on golden images and on images unlike any of them.

    Args:
        folded: the model.
        plan: what is to be narrow.
        x: images [N,C,H,W] float32 at bin centres.
        y: their labels [N] int64.
    """
    from glow_deploy.data import foreign_faces
    from glow_deploy.images.artificial import stress_images
    from glow_deploy.precision.ranges import measure_ranges
    from glow_deploy.precision.simulate import float32_graphs

    golden = x[:_RANGE_IMAGES]
    shape = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
    others = stress_images(shape, n_bits=folded.n_bits, n=_STRESS_IMAGES, seed=0, golden=golden)
    foreign = foreign_faces(shape, n_bits=folded.n_bits, n=_STRESS_IMAGES)
    images = np.concatenate((golden, *others.values(), *foreign.values()))
    labels = None
    if y is not None and folded.num_classes is not None:
        rest = np.arange(len(images) - len(golden), dtype=np.int64) % folded.num_classes
        labels = np.concatenate((y[: len(golden)], rest))
    return measure_ranges(float32_graphs(folded), plan, images, labels)


def make_plan(folded: FoldedGlow, images: GoldenImages, settings: ExportSettings, report: Report) -> Planned | None:
    """Return the plan of the precision in the settings; None for float32 throughout.

    Args:
        folded: the model.
        images: `auto` is calibrated on all of them.
        settings: precision and tolerance.
        report: told the stages.
    """
    from glow_deploy.graphs.precision_plan import PrecisionPlan

    if settings.precision == "fp32":
        return None
    if settings.precision != "auto":
        return Planned(plan=PrecisionPlan.uniform(settings.precision, folded))
    from glow_deploy.budget.gains import measure_profile
    from glow_deploy.numerics.float64.evaluate import Float64Graph
    from glow_deploy.precision.auto import choose_plan
    from glow_deploy.precision.simulate import float32_graphs

    report("decode gains of the steps")
    graphs = float32_graphs(folded)
    profile = measure_profile(
        Float64Graph(graphs["encoder"], source="the encoder"),
        Float64Graph(graphs["decoder"], source="the decoder"),
        images.x,
        images.y,
        progress=lambda _, done, total: report("decode gains of the steps", done, total),
    )
    ranges = range_check(folded, PrecisionPlan.uniform("mixed", folded), images.x, images.y)
    narrow_range = {
        step: f"only {bits:.1f} bits of float16's range are left above the largest value seen"
        for step, bits in ranges.headroom_of_steps().items()
        if bits < MIN_HEADROOM_BITS
    }
    tolerance = PIXEL_EXACT if settings.tolerance is None else settings.tolerance
    choice = choose_plan(
        folded,
        images.x,
        images.y,
        profile=profile,
        excluded=narrow_range,
        tolerance=tolerance,
        confidence=CONFIDENCE if settings.confidence is None else settings.confidence,
        progress=lambda done: report("simulated round trips", done),
    )
    return Planned(plan=choice.plan, choice=choice, tolerance=tolerance)
