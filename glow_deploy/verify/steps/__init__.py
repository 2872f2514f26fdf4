"""Where an error comes from: every step of flow on every backend against float64, both ways, and the step to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glow_deploy.verify.report.steps import Jump, StepRow, StepsBackend, StepsReport, WeightFault

    from .run import StepsSettings, measure_steps
    from .table import steps_table

__all__ = [
    "Jump",
    "StepRow",
    "StepsBackend",
    "StepsReport",
    "StepsSettings",
    "WeightFault",
    "measure_steps",
    "steps_table",
]


def __getattr__(name: str) -> object:
    match name:
        case "StepsSettings" | "measure_steps":
            from . import run

            return getattr(run, name)
        case "steps_table":
            from .table import steps_table

            return steps_table
        case "Jump" | "StepRow" | "StepsBackend" | "StepsReport" | "WeightFault":
            from glow_deploy.verify.report import steps as report

            return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
