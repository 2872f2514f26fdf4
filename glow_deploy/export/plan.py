"""Turning the precision asked for into a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .examine import Report
from .settings import ExportSettings

if TYPE_CHECKING:
    from ..folding import FoldedGlow
    from ..precision.auto import AutoChoice
    from ..precision.plan import PrecisionPlan
    from .images import GoldenImages

__all__ = ["CALIBRATION_IMAGES", "PIXEL_EXACT", "Planned", "make_plan"]

CALIBRATION_IMAGES = 256
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


def make_plan(folded: FoldedGlow, images: GoldenImages, settings: ExportSettings, report: Report) -> Planned | None:
    """Return the plan of the precision in the settings; None for float32 throughout.

    Args:
        folded: the model.
        images: `auto` is calibrated on all of them.
        settings: precision and tolerance.
        report: told the stages.
    """
    from ..precision.plan import PrecisionPlan

    if settings.precision == "fp32":
        return None
    if settings.precision != "auto":
        return Planned(plan=PrecisionPlan.uniform(settings.precision, folded))
    from ..budget import measure_gains
    from ..precision.auto import choose_plan
    from ..precision.simulate import float32_graphs

    report("decode gains of the steps")
    graphs = float32_graphs(folded)
    gains = measure_gains(graphs["encoder"], graphs["decoder"], images.x, images.y)
    tolerance = PIXEL_EXACT if settings.tolerance is None else settings.tolerance
    choice = choose_plan(
        folded,
        images.x,
        images.y,
        gains=gains,
        tolerance=tolerance,
        progress=lambda done: report("simulated round trips", done),
    )
    return Planned(plan=choice.plan, choice=choice, tolerance=tolerance)
