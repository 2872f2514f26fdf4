"""The comparison with an earlier run, which has a verdict of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocks import Card, Column, Reproduce, Section, Table
from .formats import count, number, percent, plain
from .tables import lost_figure, name, right, text

__all__ = ["baseline_card", "baseline_section"]


def baseline_card(report: Mapping[str, Any]) -> Card | None:
    """The outcome for the first screen, beside the four verdicts and no part of them."""
    baseline = report.get("baseline")
    if not baseline:
        return None
    rises, missing = len(baseline.get("rises") or ()), len(baseline.get("missing") or ())
    found = (
        [f"{rises} figure{'s' * (rises > 1)} rose beyond {plain(baseline.get('factor'))} times what was stored"]
        if rises
        else []
    )
    found += [f"{missing} row{'s are' if missing > 1 else ' is'} missing"] if missing else []
    sentence = f"{count(baseline.get('compared'))} rows against {baseline.get('file')}"
    sentence += f": {' and '.join(found)}." if found else ": no figure rose beyond its limit."
    if not baseline.get("compared"):
        sentence = f"Nothing could be compared with {baseline.get('file')}, and that is no pass."
    return Card(title="Baseline", verdict=str(baseline.get("verdict")), sentence=sentence)


def baseline_section(report: Mapping[str, Any]) -> Section | None:
    """What rose, what is missing and what else is different, or None where no baseline was given."""
    baseline = report.get("baseline")
    if not baseline:
        return None
    reproduce = Reproduce(command=str(report.get("command") or ""), key="baseline")
    verdict = str(baseline.get("verdict"))
    outcome = {
        "pass": "No figure rose beyond its limit",
        "fail": "Failed: figures rose or are missing",
    }.get(verdict, "Nothing could be compared, and that is no pass")
    rises = list(baseline.get("rises") or ())
    absent = [(entry, "missing") for entry in baseline.get("missing") or ()]
    absent += [(entry, "not compared") for entry in baseline.get("not_compared") or ()]
    blocks = []
    if rises:
        blocks.append(_rises(rises, reproduce))
    if absent:
        blocks.append(
            Table(
                title="Rows without a comparison",
                columns=tuple(Column(label=label) for label in ("Row", "What", "Reason")),
                rows=tuple((name(entry.get("row")), text(what), text(entry.get("reason"))) for entry, what in absent),
                folded=len(absent) > 4,
                reproduce=reproduce,
            )
        )
    return Section(
        id="baseline",
        title="Against the baseline",
        lead=f"{outcome}: {count(baseline.get('compared'))} rows against {baseline.get('file')}, in which a figure may "
        f"grow to {plain(baseline.get('factor'))} times the stored one. A verdict of its own, apart from the three.",
        notes=tuple(f"Different from then: {change}" for change in baseline.get("changes") or ()),
        blocks=tuple(blocks),
    )


def _rises(rises: list[Mapping[str, Any]], reproduce: Reproduce) -> Table:
    def figure(rise: Mapping[str, Any], key: str) -> str:
        if rise.get(key) is None:
            return "not finite"
        return percent(rise[key]) if rise.get("statistic") == "rate" else number(rise[key], digits=3)

    return Table(
        title="What rose",
        columns=(
            *(Column(label=label) for label in ("Row", "Measure", "Statistic")),
            *(Column(label=label, right=True) for label in ("Then", "Now", "Limit")),
            Column(label="Derivation"),
        ),
        rows=tuple(
            (
                name(rise.get("row")),
                text(rise.get("measure")),
                text(rise.get("statistic")),
                right(figure(rise, "stored")),
                lost_figure(figure(rise, "value")),
                right(figure(rise, "limit")),
                text(rise.get("derivation")),
            )
            for rise in rises
        ),
        reproduce=reproduce,
    )
