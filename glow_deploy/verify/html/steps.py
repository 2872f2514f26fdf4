"""Error by step of flow: where it comes from, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .blocks import Block, Cell, Charts, Column, Plot, Reproduce, Section, Table
from .charts import steps_chart, steps_legend
from .formats import count, number, value_of
from .svg import Identifiers
from .tables import muted, name, right, text

__all__ = ["steps_section"]

_NAMED = 3  # steps to blame, of one backend: the first is the one to look at


def steps_section(report: Mapping[str, Any], *, ids: Identifiers) -> Section:
    """Error after every step, both ways, against its prediction."""
    steps = report.get("steps")
    if not steps:
        return Section(id="steps", title="Error by step", lead="Not measured: add --steps.")
    reproduce = Reproduce(command=str(report.get("command") or ""), key="steps")
    entries = [entry for entry in steps.get("backends") or () if entry.get("rows")]
    notes = [
        f"{entry.get('backend')}: not measured: {entry['reason']}"
        for entry in steps.get("backends") or ()
        if entry.get("reason")
    ]
    notes = [line for entry in entries for line in _jumps(entry)] + notes
    # One scale for all charts.
    values = [
        value_of(row.get(key))
        for entry in entries
        for row in entry["rows"]
        for key in ("observed_rms", "observed_max", "predicted_rms")
    ]
    blocks: list[Block] = []
    for entry in entries:
        blocks.append(_charts(entry, values, reproduce, ids))
        blocks.append(_table(entry, reproduce))
    faults = list(steps.get("weights") or ())
    if faults:
        blocks.append(_weights(faults, reproduce))
    return Section(
        id="steps",
        title="Error by step",
        lead=f"Error of the tensor after each step against float64, {count(steps.get('images'))} images, in units of "
        "that tensor. Steps stand in the order in which they run; all charts share one scale.",
        notes=tuple(notes),
        blocks=tuple(blocks),
    )


def _jumps(entry: Mapping[str, Any]) -> list[str]:
    """Say which steps are to blame, in the order in which they should be looked at."""
    first = entry.get("first_jump")
    jumps = list(entry.get("jumps") or ([first] if first else []))
    lines = [
        f"{entry.get('backend')}: {jump.get('step')} of the {_graph(jump.get('direction'))}{_times(jump)}. "
        f"Cause: {jump.get('cause')}. What to do: {jump.get('advice')}."
        for jump in jumps[:_NAMED]
    ]
    if len(jumps) > _NAMED:
        lines.append(f"{entry.get('backend')}: {len(jumps) - _NAMED} more steps are named in the JSON report.")
    return [line.replace("..", ".") for line in lines]


def _graph(direction: Any) -> str:
    return {"encode": "encoder", "decode": "decoder"}.get(str(direction), "encoder or decoder")


def _times(jump: Mapping[str, Any]) -> str:
    ratio = jump.get("ratio")
    return f" shows {number(ratio)} times what a sound step does" if ratio is not None else " is to blame"


def _charts(entry: Mapping[str, Any], values: list[float], reproduce: Reproduce, ids: Identifiers) -> Charts:
    backend, rows, jump = str(entry.get("backend")), list(entry["rows"]), entry.get("first_jump")
    plots = []
    for direction in ("encode", "decode"):
        own = [row for row in rows if row.get("direction") == direction]
        if own:
            here = str(jump.get("step")) if jump and jump.get("direction") in (direction, None) else None
            title = f"{backend}, {direction}: error by step"
            svg = steps_chart(own, title=title, values=values, jump=here, ids=ids)
            plots.append(Plot(svg=svg, heading=direction))
    return Charts(
        title=backend,
        plots=tuple(plots),
        legend=steps_legend(lost=any(row.get("non_finite") for row in rows)),
        caption="" if jump else "No step is out of bounds.",
        reproduce=reproduce,
    )


def _table(entry: Mapping[str, Any], reproduce: Reproduce) -> Table:
    figures = ("rms", "observed_rms", "observed_max", "predicted_rms", "local_rms", "local_predicted", "gain")
    labels = ("rms", "error rms", "error max", "predicted rms", "own error", "own predicted", "gain")
    rows = list(entry["rows"])
    shown = [index for index, key in enumerate(figures) if any(key in row for row in rows)]
    return Table(
        title=f"{entry.get('backend')}, all figures",
        columns=(
            Column(label="Step"),
            Column(label="Direction"),
            Column(label="non-finite", right=True),
            *(Column(label=labels[index], right=True) for index in shown),
        ),
        rows=tuple(
            (
                name(row.get("step")),
                muted(row.get("direction")),
                Cell(text=count(row.get("non_finite")), kind="lost" if row.get("non_finite") else "number"),
                *(right(number(row.get(figures[index]))) for index in shown),
            )
            for row in rows
        ),
        caption="Own: without the error that the step was handed.",
        folded=True,
        reproduce=reproduce,
    )


def _weights(faults: Sequence[Mapping[str, Any]], reproduce: Reproduce) -> Table:
    return Table(
        title="Weights that do not agree",
        columns=(
            *(Column(label=c) for c in ("Step", "Weight", "Graph", "Finding")),
            Column(label="times allowed", right=True),
        ),
        rows=tuple(
            (
                name(fault.get("step")),
                text(fault.get("weight")),
                text(_graph(fault.get("direction"))),
                text(" ".join(str(fault.get(key)) for key in ("detail", "coarse") if fault.get(key))),
                Cell(text=number(fault.get("difference")), kind="lost"),
            )
            for fault in faults
        ),
        reproduce=reproduce,
    )
