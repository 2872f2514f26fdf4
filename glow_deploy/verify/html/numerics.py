"""What each precision is expected to cost, and how the error is spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from glow_deploy.numerics.measures import half_bin

from .blocks import Block, Charts, Column, Plot, Reproduce, Section, Table
from .charts import bars_chart, histogram_chart, shares_chart
from .formats import count, number, percent, value_of
from .svg import Identifiers
from .tables import name, right

__all__ = ["CellKey", "budget_section", "histograms_section"]

CellKey = tuple[str, str, str]
"""Image set, encoder's backend, decoder's backend."""


def budget_section(report: Mapping[str, Any], *, ids: Identifiers) -> Section:
    """What each precision is expected to cost, and which step answers for it."""
    budget = report.get("budget")
    if not budget:
        return Section(id="budget", title="Error budget", lead="Not measured: add --steps.")
    reproduce = Reproduce(command=str(report.get("command") or ""), key="budget")
    n_bits = int(report.get("n_bits") or 8)
    step = 2**n_bits
    predicted = {str(k): value_of(v) * step for k, v in (budget.get("predicted_rms") or {}).items()}
    precision = str((report.get("bundle") or {}).get("precision"))
    seen = _observed(report) * step
    observed = {precision: seen} if precision in predicted and seen > 0.0 else {}
    plots = []
    if predicted:
        svg = bars_chart(
            predicted,
            title="Predicted rms of the round trip, by precision",
            limit=half_bin(n_bits) * step,
            limit_label="half a bin",
            marks=observed,
            ids=ids,
        )
        note = "rms of x_hat - x in pixel steps." + (
            f" The diamond is what was observed: {number(seen)}." if observed else ""
        )
        plots.append(Plot(svg=svg, heading="Predicted error by precision", note=note))
    rows = list(budget.get("steps") or ())
    if rows:
        svg = shares_chart(rows, title="Share of the squared error, by step", ids=ids)
        note = "Share of gamma squared that each step answers for."
        plots.append(Plot(svg=svg, heading="Where it comes from", note=note))
    worst = ""
    if budget.get("gamma_max") is not None:
        worst = f", {number(budget['gamma_max'], digits=3)} for the worst image"
    blocks: list[Block] = []
    if plots:
        blocks.append(Charts(title="Prediction", plots=tuple(plots), reproduce=reproduce))
    if rows:
        blocks.append(_budget_table(rows, reproduce))
    return Section(
        id="budget",
        title="Error budget",
        lead=f"Decode gains from float64 probes on {count(budget.get('images'))} images: gamma = "
        f"{number(budget.get('gamma'), digits=3)}{worst}. The rms of a round trip in one precision is predicted as a "
        "constant times its unit roundoff times gamma; where only the conditioners are narrow, from how often their "
        "two directions round differently.",
        notes=tuple(f"{flag.get('step')}: {flag.get('message')}" for flag in budget.get("flags") or ()),
        blocks=tuple(blocks),
    )


def histograms_section(
    report: Mapping[str, Any], *, histograms: Mapping[CellKey, Mapping[str, Any]], ids: Identifiers
) -> Section:
    """How |x_hat - x| is spread, for each backend with itself and for the worst mixed pair."""
    known: dict[CellKey, Mapping[str, Any]] = {
        (str(cell.get("images")), str(cell.get("encode")), str(cell.get("decode"))): cell["histogram"]
        for cell in report.get("cells") or ()
        if cell.get("histogram")
    }
    known.update(histograms)
    if not known:
        return Section(id="histograms", title="Spread of the error", lead="Not measured: no histogram was kept.")
    reproduce = Reproduce(command=str(report.get("command") or ""), key="cells[].histogram")
    sets = list(dict.fromkeys(key[0] for key in known))
    blocks = tuple(
        _histograms(images, {k: h for k, h in known.items() if k[0] == images}, report, reproduce, ids)
        for images in sets
    )
    return Section(
        id="histograms",
        title="Spread of the error",
        lead="How often an error of a size occurs, on two logarithmic scales. An error beyond half a bin loses the "
        "pixel; the vertical line marks it.",
        blocks=blocks,
    )


def _histograms(
    images: str,
    known: Mapping[CellKey, Mapping[str, Any]],
    report: Mapping[str, Any],
    reproduce: Reproduce,
    ids: Identifiers,
) -> Charts:
    cells = {
        (str(cell.get("images")), str(cell.get("encode")), str(cell.get("decode"))): cell
        for cell in report.get("cells") or ()
    }
    shown = [key for key in known if key[1] == key[2]]
    mixed = [key for key in known if key[1] != key[2]]
    if mixed:
        shown.append(max(mixed, key=lambda key: _maximum(cells.get(key))))
    decades = _decades([known[key] for key in shown])
    floor = min(math.floor(-math.log10(max(10.0, value_of(known[key].get("n"))))) for key in shown)
    plots = []
    for key in shown:
        histogram = known[key]
        heading = key[1] if key[1] == key[2] else f"{key[1]} to {key[2]} (worst mixed pair)"
        title = f"{images}, encode {key[1]}, decode {key[2]}: histogram of the error"
        svg = histogram_chart(histogram, title=title, decades=decades, floor=floor, ids=ids)
        plots.append(Plot(svg=svg, heading=heading, note=_outside(histogram, cells.get(key))))
    return Charts(
        title=images,
        plots=tuple(plots),
        caption="Vertical: share of the values in a bin; eight bins a decade.",
        reproduce=reproduce,
    )


def _decades(histograms: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Exponents between which all errors lie, half a bin included."""
    low, high = -1.0, 1.0
    for histogram in histograms:
        lowest, per_decade = math.log10(float(histogram["lowest"])), int(histogram["bins_per_decade"])
        filled = [index for index, entry in enumerate(histogram["counts"]) if entry]
        if filled:
            low = min(low, lowest + filled[0] / per_decade)
            high = max(high, lowest + (filled[-1] + 1) / per_decade)
    return math.floor(low + 1e-9), math.ceil(high - 1e-9)


def _outside(histogram: Mapping[str, Any], cell: Mapping[str, Any] | None) -> str:
    n = value_of(histogram.get("n"))
    parts = [f"{count(n)} values"]
    if histogram.get("below"):
        parts.append(f"{percent(value_of(histogram['below']) / n)} below {number(histogram['lowest'])}")
    if histogram.get("above"):
        parts.append(f"{count(histogram['above'])} of {number(histogram['highest'])} or more")
    if histogram.get("non_finite"):
        parts.append(f"{count(histogram['non_finite'])} non-finite")
    exact = (cell or {}).get("exact") or {}
    if exact:
        parts.append(f"{count(value_of(exact.get('pixels')) - value_of(exact.get('pixels_exact')))} beyond half a bin")
    return ", ".join(parts)


def _maximum(cell: Mapping[str, Any] | None) -> tuple[int, float]:
    error = (cell or {}).get("x_z_x") or {}
    largest = value_of(error.get("max"))
    return int(error.get("non_finite") or 0), largest if math.isfinite(largest) else -1.0


def _observed(report: Mapping[str, Any]) -> float:
    """Largest rms of a round trip on one deployed backend; NaN where none was measured."""
    found = [
        value_of((cell.get("x_z_x") or {}).get("rms"))
        for cell in report.get("cells") or ()
        if cell.get("encode") == cell.get("decode") and not str(cell.get("encode")).startswith("pytorch")
    ]
    return max((value for value in found if math.isfinite(value)), default=math.nan)


def _budget_table(rows: Sequence[Mapping[str, Any]], reproduce: Reproduce) -> Table:
    columns = ("gain", "rms", "share", "kappa", "inverse_residual", "smallest_scale", "smallest_actnorm")
    labels = ("gain", "rms of h", "share", "κ(W)", "‖W W⁻¹ - I‖", "smallest scale", "smallest actnorm")
    return Table(
        title=f"All {len(rows)} steps",
        columns=(Column(label="Step"), *(Column(label=label, right=True) for label in labels)),
        rows=tuple(
            (
                name(row.get("step")),
                *(right(percent(row.get(key)) if key == "share" else number(row.get(key))) for key in columns),
            )
            for row in rows
        ),
        folded=len(rows) > 6,
        reproduce=reproduce,
    )
