"""The steps for the terminal: a curve of every backend, the worst steps and the one to blame, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glow_deploy.verify.report.steps import Direction, StepRow, StepsBackend, StepsReport

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["steps_table"]

_BARS = "▁▂▃▄▅▆▇█"
_WORST = 5


def steps_table(report: StepsReport) -> Group:
    """Lay the report out for the terminal."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for backend in report.backends:
        if not backend.used:
            parts.append(_styled(f"steps: {backend.backend} left out: {backend.reason}", "dim"))
            continue
        parts += [_heading(report, backend), *_curves(backend), _worst(backend)]
        parts += list(_verdict(backend))
    return Group(*parts)


def _heading(report: StepsReport, backend: StepsBackend) -> Text:
    return _styled(f"\nError after every step: {backend.backend}, {report.images} images", "bold")


def _curves(backend: StepsBackend) -> list[Text]:
    """One bar a step, of the error's logarithm, both ways on one scale."""
    errors = [row.observed_rms for row in backend.rows if row.observed_rms > 0.0 and math.isfinite(row.observed_rms)]
    if not errors:
        return []
    low, high = math.log10(min(errors)), math.log10(max(errors))
    lines = []
    directions: tuple[Direction, ...] = ("encode", "decode")
    for direction in directions:
        rows = [row for row in backend.rows if row.direction == direction]
        line = "".join(_bar(row, low, high) for row in _thinned(rows))
        lines.append(
            _styled(f"  {direction} {line} {_figure(rows[0].observed_rms)} to {_figure(rows[-1].observed_rms)}", "")
        )
    lines.append(
        _styled(f"  {'':6} {_BARS[0]} is {min(errors):.0e}, {_BARS[-1]} is {max(errors):.0e}, ! is not finite", "dim")
    )
    return lines


def _thinned(rows: Sequence[StepRow], *, width: int = 48) -> list[StepRow]:
    """As many rows as fit, of each group the one with the largest error."""
    size = -(-len(rows) // width)
    groups = [rows[first : first + size] for first in range(0, len(rows), size)]
    return [max(group, key=lambda row: math.inf if row.non_finite else row.observed_rms) for group in groups]


def _bar(row: StepRow, low: float, high: float) -> str:
    if row.non_finite or not math.isfinite(row.observed_rms):
        return "!"
    if row.observed_rms <= 0.0:
        return _BARS[0]
    share = (math.log10(row.observed_rms) - low) / (high - low) if high > low else 0.0
    return _BARS[round(share * (len(_BARS) - 1))]


def _worst(backend: StepsBackend) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title="the largest own errors over what rounding explains, and the steps named",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("step", "way"):
        table.add_column(column, no_wrap=True)
    for column in ("error", "predicted", "max", "own", "ratio", "gain"):
        table.add_column(column, justify="right", no_wrap=True)
    named = {(jump.step, jump.direction) for jump in backend.jumps}
    for row in _chosen(backend):
        hit = (row.step, row.direction) in named or (row.step, None) in named
        style = "bold red" if hit else ""
        error = f"{row.non_finite} lost" if row.non_finite else _figure(row.observed_rms)
        cells = (
            row.step,
            row.direction,
            error,
            _figure(row.predicted_rms),
            _figure(row.observed_max),
            _figure(row.local_rms),
            "none"
            if not math.isfinite(_ratio(row))
            else f"{_ratio(row):.1f}"
            if _ratio(row) < 1e4
            else f"{_ratio(row):.0e}",
            "" if row.gain is None or not math.isfinite(row.gain) else f"{row.gain:.3g}",
        )
        table.add_row(*(_styled(cell, style) for cell in cells))
    return table


def _chosen(backend: StepsBackend) -> list[StepRow]:
    """The worst rows and the named ones, in the order of computation."""
    ranked = sorted(backend.rows, key=lambda row: -_ratio(row) if math.isfinite(_ratio(row)) else -math.inf)
    keep = {(row.step, row.direction) for row in ranked[:_WORST]}
    for jump in backend.jumps[:_WORST]:
        keep |= {(jump.step, way) for way in ("encode", "decode") if jump.direction in (way, None)}
    return [row for row in backend.rows if (row.step, row.direction) in keep]


def _ratio(row: StepRow) -> float:
    return row.local_rms / row.local_predicted if row.local_predicted > 0.0 else math.nan


def _verdict(backend: StepsBackend) -> list[Text]:
    if backend.first_jump is None:
        return [_styled("no step is out of bounds", "green")]
    lines = [_styled(f"look at {backend.first_jump}", "bold red")]
    others = len(backend.jumps) - 1
    if others:
        more = ", ".join(dict.fromkeys(jump.step for jump in backend.jumps[1:7]))
        lines.append(_styled(f"and {others} more: {more}{' ...' if others > 6 else ''}", "red"))
    return lines


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _figure(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "none"
