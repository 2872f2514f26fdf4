"""The charts of the report, each one function from figures to SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from .blocks import Key, Legend
from .formats import count, number, percent, value_of
from .svg import Axis, Drawing, Identifiers, decade_axis

__all__ = ["bars_chart", "histogram_chart", "shares_chart", "steps_chart", "steps_legend"]

_WIDTH, _HEIGHT = 520.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 72.0, 508.0, 28.0, 246.0
_LABEL = 34.0  # room that the number of a step takes on a narrow screen


def steps_chart(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    values: list[float],
    jump: str | None,
    ids: Identifiers,
) -> str:
    """Error after each step, in the order in which the steps run: observed, predicted and the largest.

    Args:
        rows: `step`, `observed_rms`, `observed_max`, `predicted_rms`, `non_finite` each.
        title: of the chart.
        values: what the vertical axis has to hold, so that neighbouring charts share one.
        jump: the step, or the level, to blame; None where there is none.
        ids: of the page.
    """
    losses = [row for row in rows if row.get("non_finite")]
    worst = max((value_of(row.get("observed_rms")) for row in rows), default=math.nan, key=_finite_first)
    description = (
        f"Root mean square error after each of {len(rows)} steps on a logarithmic scale. The largest observed is "
        f"{number(worst)}. {len(losses)} steps have non-finite values."
        + (f" The first jump is at {jump}." if jump else "")
    )
    drawing = Drawing(_WIDTH, _HEIGHT, title=title, description=description, ident=ids.take())
    y = decade_axis(values, start=_BOTTOM, end=_TOP)
    _grid(drawing, y)
    places = list(_places(len(rows)))
    _levels(drawing, [str(row.get("step")) for row in rows], places)
    blamed = [x for row, x in zip(rows, places, strict=True) if jump and f"{row.get('step')}/".startswith(f"{jump}/")]
    for x in blamed[:1]:
        drawing.line(x, _TOP, x, _BOTTOM, style="jump")
        drawing.text(x, _TOP - 8, "first jump", style="bad", anchor=_anchor(x))
    curves = (("observed_max", "largest", "dash"), ("predicted_rms", "predicted", "diamond"))
    for key, style, shape in (*curves, ("observed_rms", "observed", "circle")):
        points = [(x, value_of(row.get(key)), row) for x, row in zip(places, rows, strict=True)]
        seen = [(x, value, row) for x, value, row in points if math.isfinite(value)]
        if key != "observed_max":
            for finite, run in groupby(points, key=lambda point: math.isfinite(point[1])):
                if finite:
                    drawing.path([(x, y.at(value)) for x, value, _ in run], style=f"curve {style}")
        for x, value, row in seen:
            hint = f"{row.get('step')}: {style} {number(value)}"
            drawing.mark(x, y.at(value), shape=shape, style=f"mark {style}", hint=hint)
    for row, x in zip(rows, places, strict=True):
        if row.get("non_finite"):
            hint = f"{row.get('step')}: {count(row['non_finite'])} non-finite values"
            drawing.mark(x, _TOP + 8, shape="cross", style="mark lost", hint=hint)
    return str(drawing)


def steps_legend(*, lost: bool) -> Legend:
    """What the curves of `steps_chart` are."""
    keys = [("observed", "circle", "observed rms"), ("predicted", "diamond", "predicted rms")]
    keys += [("largest", "dash", "observed maximum")]
    keys += [("lost", "cross", "non-finite values")] * lost
    return tuple(Key(svg=_sample(style, shape), text=text) for style, shape, text in keys)


def bars_chart(
    values: Mapping[str, float],
    *,
    title: str,
    limit: float,
    limit_label: str,
    marks: Mapping[str, float],
    ids: Identifiers,
) -> str:
    """Horizontal bars on a logarithmic scale, with a limit and, where one was observed, a mark on a bar.

    Args:
        values: by name, each > 0; what is not finite is written as such.
        title: of the chart.
        limit: where the vertical line stands.
        limit_label: what it is.
        marks: observed values by the same names.
        ids: of the page.
    """
    height = 66.0 + 34.0 * len(values)
    parts = [f"{name} {number(value)}" for name, value in values.items()]
    parts += [f"{name} observed {number(value)}" for name, value in marks.items()]
    description = f"{', '.join(parts)}; {limit_label} {number(limit)}."
    drawing = Drawing(_WIDTH, height, title=title, description=description, ident=ids.take())
    left, right, top = 112.0, _WIDTH - 84.0, 26.0
    x = decade_axis([*values.values(), *marks.values(), limit], start=left, end=right)
    x = replace(x, low=x.low - 1)  # a bar has no end of its own on a logarithmic scale; the smallest must be seen
    bottom = height - 34.0
    for place, label in x.ticks(5):
        drawing.line(place, top, place, bottom, style="grid")
        drawing.text(place, bottom + 20, label, anchor="middle")
    # The line before the figures, which have a halo.
    drawing.line(x.at(limit), top, x.at(limit), bottom, style="limit")
    drawing.text(x.at(limit), top - 8, limit_label, style="strong", anchor=_anchor(x.at(limit)))
    for row, (name, value) in enumerate(values.items()):
        y = top + 10.0 + 34.0 * row
        drawing.text(left - 8, y + 15, name, anchor="end")
        end, seen = left, marks.get(name, math.nan)
        if math.isfinite(value):
            end = x.at(value)
            style = "bar over" if value > limit else "bar"
            drawing.rect(left, y, end - left, 20, style=style, hint=f"{name}: predicted {number(value)}")
        if math.isfinite(seen):
            drawing.mark(x.at(seen), y + 10, shape="diamond", style="mark seen", hint=f"observed {number(seen)}")
            if -9.0 < x.at(seen) - end < 70.0:
                end = x.at(seen)
        text, style = (number(value), "figure") if math.isfinite(value) else ("overflow", "figure bad")
        drawing.text(end + 10, y + 15, text, style=style)
    return str(drawing)


def shares_chart(rows: Sequence[Mapping[str, Any]], *, title: str, ids: Identifiers) -> str:
    """Vertical bars: what part of the squared error each step answers for. Rows carry `step` and `share` (0..1)."""
    shares = [value_of(row.get("share")) for row in rows]
    finite = [share for share in shares if math.isfinite(share)]
    top = max(finite, default=1.0) or 1.0
    first = max(rows, key=lambda row: _finite_first(value_of(row.get("share"))), default={})
    description = f"Shares of {len(rows)} steps; the largest is {percent(first.get('share'))}, of {first.get('step')}."
    drawing = Drawing(_WIDTH, _HEIGHT, title=title, description=description, ident=ids.take())
    for part in (0.0, 0.5, 1.0):
        y = _BOTTOM - (_BOTTOM - _TOP) * part
        drawing.line(_LEFT, y, _RIGHT, y, style="grid")
        drawing.text(_LEFT - 8, y + 5, percent(top * part), anchor="end")
    places = list(_places(len(rows)))
    _levels(drawing, [str(row.get("step")) for row in rows], places)
    width = min(28.0, 0.7 * (_RIGHT - _LEFT) / max(1, len(rows)))
    for row, x, share in zip(rows, places, shares, strict=True):
        if math.isfinite(share):
            tall = (_BOTTOM - _TOP) * share / top
            hint = f"{row.get('step')}: {percent(share)}"
            drawing.rect(x - width / 2, _BOTTOM - tall, width, tall, style="bar", hint=hint)
    return str(drawing)


def histogram_chart(
    histogram: Mapping[str, Any], *, title: str, decades: tuple[int, int], floor: int, ids: Identifiers
) -> str:
    """How often an error occurs, both axes logarithmic, with the line beyond which a pixel is lost.

    Args:
        histogram: as `ErrorHistogram.to_dict()` gives it.
        title: of the chart.
        decades: exponents of the horizontal axis' ends, so that neighbouring charts share them.
        floor: exponent of the smallest share on the vertical axis, below 0.
        ids: of the page.
    """
    n = max(1.0, value_of(histogram.get("n")))
    per_decade = int(histogram["bins_per_decade"])
    lowest = math.log10(float(histogram["lowest"]))
    shares = [value_of(entry) / n for entry in histogram["counts"]]
    peak = max(range(len(shares)), key=lambda index: shares[index])
    description = (
        f"Histogram of {count(n)} errors in pixel steps; "
        + (f"the fullest bin starts at {number(10 ** (lowest + peak / per_decade))}. " if any(shares) else "all zero. ")
        + "A line marks half a bin, beyond which a pixel is lost."
    )
    drawing = Drawing(_WIDTH, _HEIGHT, title=title, description=description, ident=ids.take())
    y = Axis(low=floor, high=0, start=_BOTTOM, end=_TOP)
    x = Axis(low=decades[0], high=decades[1], start=_LEFT, end=_RIGHT)
    _grid(drawing, y)
    drawing.rect(x.at(0.5), _TOP, _RIGHT - x.at(0.5), _BOTTOM - _TOP, style="beyond")
    for place, label in x.ticks():
        drawing.line(place, _BOTTOM, place, _BOTTOM + 5, style="axis")
        drawing.text(place, _BOTTOM + 22, label, anchor="middle")
    outline: list[tuple[float, float]] = []
    for index, share in enumerate(shares):
        edges = [10 ** (lowest + (index + side) / per_decade) for side in (0, 1)]
        if edges[1] <= 10.0 ** decades[0] * 1.0001 or edges[0] >= 10.0 ** decades[1] * 0.9999:
            continue
        outline += [(x.at(edge), y.at(share) if share > 0 else _BOTTOM) for edge in edges]
    if outline:
        drawing.path([(outline[0][0], _BOTTOM), *outline, (outline[-1][0], _BOTTOM)], style="area", close=True)
    drawing.line(x.at(0.5), _TOP, x.at(0.5), _BOTTOM, style="limit")
    drawing.text(x.at(0.5), _TOP - 8, "half a bin", style="strong", anchor=_anchor(x.at(0.5)))
    drawing.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, style="axis")
    drawing.text((_LEFT + _RIGHT) / 2, _BOTTOM + 46, "|error| in pixel steps", anchor="middle")
    return str(drawing)


def _grid(drawing: Drawing, y: Axis) -> None:
    for place, label in y.ticks():
        drawing.line(_LEFT, place, _RIGHT, place, style="grid")
        drawing.text(_LEFT - 8, place + 5, label, anchor="end")


def _places(n: int) -> Iterator[float]:
    """Middles of n columns of equal width."""
    width = (_RIGHT - _LEFT) / max(1, n)
    return (_LEFT + width * (index + 0.5) for index in range(n))


def _levels(drawing: Drawing, steps: list[str], places: list[float]) -> None:
    """Mark the levels under a chart whose columns are steps `levelL/stepSS`."""
    width = (_RIGHT - _LEFT) / max(1, len(steps))
    drawing.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, style="axis")
    stride = max(1, math.ceil(_LABEL / width))
    for index, (step, x) in enumerate(zip(steps, places, strict=True)):
        drawing.line(x, _BOTTOM, x, _BOTTOM + 4, style="axis")
        if index % stride == 0 and "/step" in step:
            drawing.text(x, _BOTTOM + 20, step.rsplit("/step", 1)[-1][:3], anchor="middle")
    for level, run in groupby(zip(steps, places, strict=True), key=lambda pair: pair[0].split("/")[0]):
        columns = [x for _, x in run]
        left, right = columns[0] - width / 2, columns[-1] + width / 2
        if left > _LEFT + 1:
            drawing.line(left, _TOP, left, _BOTTOM + 46, style="divide")
        wide = right - left > 84
        name = level.replace("level", "level " if wide else "L") if level.startswith("level") else level[:12]
        drawing.text((left + right) / 2, _BOTTOM + 42, name, anchor="middle")


def _anchor(x: float) -> str:
    """On which side of a point a label has room."""
    if x < _LEFT + 50:
        return "start"
    return "end" if x > _RIGHT - 50 else "middle"


def _finite_first(value: float) -> float:
    return value if math.isfinite(value) else -1.0


def _sample(style: str, shape: str) -> str:
    """Draw the entry of a legend; the text beside it says what it is, so it is hidden from readers."""
    curve = "" if style in ("largest", "lost") else f'<path d="M1 8H31" class="curve {style}"/>'
    outline = {
        "circle": f'<circle cx="16" cy="8" r="4" class="mark {style}"/>',
        "diamond": f'<path d="M16 3l5 5l-5 5l-5 -5Z" class="mark {style}"/>',
        "dash": f'<path d="M11 8h10" class="mark {style}"/>',
        "cross": f'<path d="M11 3l10 10m0 -10l-10 10" class="mark {style}"/>',
    }[shape]
    return f'<svg class="key" viewBox="0 0 32 16" width="32" height="16" aria-hidden="true">{curve}{outline}</svg>'
