"""The error budget as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .report import BudgetReport, StepBudget

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["budget_table", "prediction_table"]

ROWS = 10


def budget_table(report: BudgetReport, *, rows: int = ROWS) -> Table:
    """The steps that carry most of Γ², in encoding order, and the rest as one row.

    Args:
        report: the budget.
        rows: how many steps have a row of their own.
    """
    title = f"Error budget: Γ {_figure(report.gamma)}, at most {_figure(report.gamma_max)}, on {report.images} images"
    table = _table(title, "step", "share", "gain", "rms", "κ", "|DE-1|", "scale", "1x1")
    # A share that is no number stands for an overflow, which nothing may outrank.
    ranked = sorted(report.steps, key=lambda step: step.share if math.isfinite(step.share) else math.inf, reverse=True)
    shown, rest = {step.step for step in ranked[:rows]}, ranked[rows:]
    flagged = {(flag.step, flag.figure) for flag in report.flags}
    for step in report.steps:
        if step.step in shown:
            table.add_row(*_row(step, flagged))
    if rest:
        table.add_row(f"{len(rest)} others", f"{_percent(sum(step.share for step in rest))}")
    return table


def prediction_table(report: BudgetReport, *, n_bits: int) -> Table:
    """What each precision is expected to do to x -> z -> x, in pixel steps.

    Args:
        report: the budget.
        n_bits: pixel depth of the model.
    """
    table = _table("Expected x -> z -> x", "precision", "rms, pixel steps", "images hit")
    for name, prediction in report.predicted.items():
        rms = "overflow" if prediction.overflows else _figure(prediction.rms * 2**n_bits)
        table.add_row(name, rms, f"{prediction.hit_share:.1%}")
    return table


def _row(step: StepBudget, flagged: set[tuple[str, str]]) -> list[str]:
    figures = {
        "kappa": f"{step.kappa:.3g}",
        "inverse_residual": _figure(step.inverse_residual),
        "smallest_scale": f"{step.smallest_scale:.2g}",
        "smallest_actnorm": f"{step.smallest_actnorm:.2g}",
    }
    marked = [f"[bold red]{text}[/]" if (step.step, name) in flagged else text for name, text in figures.items()]

    return [step.step, _percent(step.share), f"{step.gain:.3g}", f"{step.rms:.2g}", *marked]


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _figure(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "none"


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "overflow"
