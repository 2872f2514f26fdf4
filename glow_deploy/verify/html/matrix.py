"""The backend matrix as a heat map, each backend against the trained model, and each engine against itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from glow_deploy.verify.report.rows import spelt_sizes

from .blocks import Column, HeatCell, HeatMap, Reproduce, Section, Table
from .evidence import Evidence, cell_name, gates_of, worst_of
from .formats import bound, count, number, of_limit, percent, value_of
from .tables import mark, name, right, text

__all__ = ["batches_section", "matrix_section", "references_section"]

_SHADES = (0.01, 0.1, 0.2, 0.4, 0.7)  # where one shade ends and the next begins; finer towards the limit


def matrix_section(report: Mapping[str, Any]) -> Section:
    """Encode on one backend, decode on another: one map an image set."""
    cells = list(report.get("cells") or ())
    if not cells:
        return Section(id="matrix", title="Backend matrix", lead="No pair of backends was measured.")
    gates = gates_of(report)
    sets = list(dict.fromkeys(str(cell.get("images")) for cell in cells))
    blocks = tuple(
        _map(report, [cell for cell in cells if str(cell.get("images")) == images], gates) for images in sets
    )
    return Section(
        id="matrix",
        title="Backend matrix",
        lead="Images encoded by the backend of the row and decoded by that of the column. Each pair shows the rms of "
        "x_hat - x in pixel steps, its figure nearest to a limit, and the images that came back exactly.",
        blocks=blocks,
    )


def references_section(report: Mapping[str, Any]) -> Section | None:
    """Latents, likelihood and decoded pictures of every backend against the trained model in float64."""
    references = list(report.get("references") or ())
    if not references:
        return None
    gates = gates_of(report)
    levels = max(len(reference.get("z") or {}) for reference in references)
    columns = (
        Column(label="Backend"),
        Column(label="Images"),
        *(Column(label=f"z{level} rms", right=True) for level in range(1, levels + 1)),
        Column(label="bits/dim rms", right=True),
        Column(label="bits/dim mean", right=True),
        Column(label="x rms, pixel steps", right=True),
        Column(label="of nearest limit", right=True),
        Column(label="Verdict"),
    )
    rows = []
    for reference in references:
        where = f"{reference.get('backend')} against float64"
        worst = worst_of([g for g in gates if g.where == where and g.images == reference.get("images")])
        bits = reference.get("bits_per_dim_centre") or {}
        steps = (reference.get("x_from_reference_z") or {}).get("pixel_steps") or {}
        z = reference.get("z") or {}
        rows.append(
            (
                name(reference.get("backend")),
                text(reference.get("images")),
                *(right(_error(z.get(f"z{level}") or {})) for level in range(1, levels + 1)),
                right(_error(bits)),
                right(number(bits.get("mean"))),
                right(number(steps.get("rms"))),
                right(of_limit(worst.ratio).removesuffix(" of its limit") if worst else "none"),
                mark(reference.get("verdict")),
            )
        )
    table = Table(
        title="Backends against float64",
        columns=columns,
        rows=tuple(rows),
        caption="bits/dim at bin centres, which serves only to compare backends. x: the reference's latents decoded.",
        reproduce=Reproduce(command=str(report.get("command") or ""), key="references"),
    )
    return Section(
        id="references",
        title="Against the trained model",
        lead="Each backend against the trained model in float64, on the same images.",
        blocks=(table,),
    )


def batches_section(report: Mapping[str, Any]) -> Section | None:
    """Each engine against itself at other batch sizes."""
    batches = list(report.get("batches") or ())
    if not batches:
        return None
    rows = []
    for batch in batches:
        split = batch.get("split") or {}
        worst = "; ".join(f"{output} {_error(summary)}" for output, summary in split.items())
        rows.append(
            (
                name(batch.get("backend")),
                text(batch.get("role")),
                text(spelt_sizes(batch.get("sizes") or ())),
                text("yes" if batch.get("bit_equal") else "no"),
                text(worst or "none"),
                mark(batch.get("verdict")),
            )
        )
    table = Table(
        title="Batch sizes",
        columns=tuple(
            Column(label=c) for c in ("Backend", "Engine", "Batches", "Bit-equal", "Worst image, rms", "Verdict")
        ),
        rows=tuple(rows),
        caption="Bit-equality is reported: no backend promises it.",
        reproduce=Reproduce(command=str(report.get("command") or ""), key="batches"),
    )
    return Section(
        id="batches",
        title="One engine against itself",
        lead="The batch that an image travels in must not matter. These sizes were tried, each against batches of one.",
        blocks=(table,),
    )


def _map(report: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], gates: Sequence[Evidence]) -> HeatMap:
    images = str(cells[0].get("images"))
    order = [str(backend.get("name")) for backend in report.get("backends") or ()]
    seen = list(dict.fromkeys([str(c.get("encode")) for c in cells] + [str(c.get("decode")) for c in cells]))
    names = [known for known in order if known in seen] + [other for other in seen if other not in order]
    by_pair = {(str(cell.get("encode")), str(cell.get("decode"))): cell for cell in cells}
    rows = tuple(tuple(_heat_cell(by_pair.get((a, b)), images=images, gates=gates) for b in names) for a in names)
    facts: Mapping[str, Any] = next((s for s in report.get("image_sets") or () if s.get("name") == images), {})
    source = f" {facts['source']}" if facts.get("source") else ""
    bounds = [value_of((cell.get("exact") or {}).get("image_failure_bound")) for cell in cells]
    largest = max((value for value in bounds if math.isfinite(value)), default=math.nan)
    limit = f" Share of inexact images at most {bound(largest)} (95 % bound, worst pair)." if bounds else ""
    return HeatMap(
        title=f"{images}: {count(facts.get('n'))} images{source}" if facts else images,
        names=tuple(names),
        rows=rows,
        caption=limit.strip().replace("at most <", "<"),
        reproduce=Reproduce(command=str(report.get("command") or ""), key="cells"),
    )


def _heat_cell(cell: Mapping[str, Any] | None, *, images: str, gates: Sequence[Evidence]) -> HeatCell:
    if cell is None:
        return HeatCell()
    error = cell.get("x_z_x") or {}
    own = [g for g in gates if g.part == "cells" and g.images == images and g.where == cell_name(cell)]
    worst = worst_of(own)
    verdict = mark(cell.get("verdict")).text
    exact = cell.get("exact") or {}
    return HeatCell(
        verdict=verdict,
        figure=(
            f"{count(error['non_finite'])} non-finite"
            if error.get("non_finite")
            else number((error.get("pixel_steps") or {}).get("rms"))
        ),
        ratio=_ratio(worst),
        exact=f"{count(exact.get('images_exact'))}/{count(exact.get('images'))} exact" if exact else "",
        shade=len(_SHADES) + 1 if verdict == "fail" else _shade(worst.ratio if worst else math.nan),
    )


def _ratio(worst: Evidence | None) -> str:
    if worst is None:
        return "not held to a limit"
    if worst.statistic == "non-finite" and not worst.passed:
        return "not finite"
    if worst.statistic == "rate" and not worst.passed:
        return f"{percent(worst.value)} of images"
    return of_limit(worst.ratio).replace("of its limit", "of limit").replace("its limit", "limit")


def _shade(ratio: float) -> int:
    return sum(ratio > edge for edge in _SHADES)


def _error(summary: Mapping[str, Any]) -> str:
    if summary.get("non_finite"):
        return f"{count(summary['non_finite'])} non-finite"
    return number(summary.get("rms"))
