"""The comparison with a baseline for people: one rich table and a closing line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glow_deploy.verify.report.baseline import BaselineReport, Comparison

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text

__all__ = ["baseline_table"]


def baseline_table(report: BaselineReport) -> Group:
    """Lay a comparison out for the terminal: of every row the figure closest to its limit, and the outcome.

    Args:
        report: of `compare`.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table

    table = Table(
        title=f"Against the baseline {report.file}: of every row the figure closest to its limit",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("row", "figure", "then", "now", "limit", "verdict"):
        right = column in ("then", "now", "limit")
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in report.rows:
        closest = row.closest
        words = f"{closest.quantity}, {closest.statistic}"
        mark = _styled("pass", "green") if row.passed else _styled("FAIL", "bold red")
        numbers = (_number(closest, value) for value in (closest.stored, closest.value, closest.limit))
        table.add_row(_styled(_breakable(row.name), ""), words, *numbers, mark)
    parts: list[RenderableType] = [table] if report.rows else []
    parts += [_styled(f"not compared: {name}: {reason}", "dim") for name, reason in report.not_compared.items()]
    if report.new:
        parts.append(_styled(f"new, not in the baseline: {', '.join(report.new)}", "dim"))
    parts += [_styled(f"changed: {change}", "dim") for change in report.changes]
    parts += [_styled(f"FAIL {rise}", "red") for rise in report.rises]
    parts += [_styled(f"FAIL {name}: {reason}", "red") for name, reason in report.missing.items()]
    parts.append(_styled(f"baseline: {report.verdict}", "bold green" if report.passed else "bold red"))
    return Group(*parts)


def _breakable(name: str) -> str:
    for joined, apart in (("->", " -> "), ("-vs-", " vs "), ("-batches", " batches"), ("[", " [")):
        name = name.replace(joined, apart)
    return name


def _number(figure: Comparison, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.2%}" if figure.statistic == "rate" else f"{value:.1e}"


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
