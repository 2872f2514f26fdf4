"""The report for people: rich tables, narrow enough for 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glow_deploy.canary.report import CanaryResult
from glow_deploy.numerics.gates import GateResult
from glow_deploy.numerics.measures import ErrorSummary, Exactness
from glow_deploy.verify.backends.backend import REFERENCE
from glow_deploy.verify.report.rows import CellReport, ReferenceReport
from glow_deploy.verify.report.verification import BackendReport, ImageSetReport, VerifyReport

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["report_tables"]


def report_tables(report: VerifyReport, *, derivations: bool = True) -> Group:
    """Lay a report out for the terminal.

    Args:
        report: of `verify`.
        derivations: with the table of limits and how each came about.
    """
    from rich.console import Group

    parts: list[RenderableType] = [_backends(report)]
    for images in report.image_sets:
        parts += [_heading(images, report.n_bits), _matrix(report, images)]
        if any(reference.images == images.name for reference in report.references):
            parts.append(_references(report, images))
    parts.append(_batches(report))
    if report.random:
        parts.append(_random(report))
    parts += list(_sections(report))
    if derivations:
        parts.append(_limits(report))
    parts += list(_closing(report))
    return Group(*parts)


def _sections(report: VerifyReport) -> Iterator[RenderableType]:
    """What was measured only because it was asked for."""
    if report.steps is not None:
        from .steps import steps_table

        yield steps_table(report.steps)
    if report.budget is not None:
        from glow_deploy.budget import budget_table, prediction_table

        yield budget_table(report.budget)
        yield prediction_table(report.budget, n_bits=report.n_bits)
    if report.stress is not None:
        from .stress import stress_tables

        yield from stress_tables(report.stress)
    if report.baseline is not None:
        from .regression import baseline_table

        yield baseline_table(report.baseline)


def _backends(report: VerifyReport) -> Table:
    table = _table("Backends", "backend", "runs on", "computes in")
    for backend in report.backends:
        facts = backend.decoder
        if facts is not None:
            table.add_row(backend.name, f"{facts['provider']}, {facts['device']}", _arithmetic(backend))
        else:
            table.add_row(backend.name, _styled(f"absent: {backend.reason}", "dim"), "")
    return table


def _arithmetic(backend: BackendReport) -> Text:
    if backend.canary is None:
        return _styled("float64" if backend.name == REFERENCE else "as the graphs say", "")
    text = backend.canary.text
    sound = isinstance(backend.canary, CanaryResult) and backend.canary.float32
    return _styled(text, "" if sound else "bold red")


def _heading(images: ImageSetReport, n_bits: int) -> Text:
    yardstick = images.yardstick
    steps = yardstick.x_hat.rms * 2**n_bits
    return _styled(
        f"\n{images.n} {images.name} images {images.source}\n"
        f"yardstick: {yardstick.source}: x -> z -> x rms {_figure(steps)} pixel steps",
        "bold",
    )


def _matrix(report: VerifyReport, images: ImageSetReport) -> Table:
    table = _table(
        "Encode on A, decode on B: x -> z -> x in pixel steps",
        "A",
        "B",
        "rms",
        "p99.9",
        "max",
        "exact (lost, 95 %)",
        "verdict",
    )
    for cell in report.cells:
        if cell.images != images.name:
            continue
        x = cell.x_error
        table.add_row(
            cell.encode,
            cell.decode,
            *(_figure(value * 2**report.n_bits) for value in (x.rms, x.p999, x.max)),
            _exact(cell.exactness),
            _verdict(cell),
        )
    return table


def _references(report: VerifyReport, images: ImageSetReport) -> Table:
    """Per level, every backend against float64, and the re-encoded latents of its own round trip."""
    levels = len(report.references[0].z)
    names = [f"z{level}" for level in range(1, levels + 1)]
    table = _table(
        "Against the trained model in float64: rms (and z -> x -> z on the same backend)",
        "backend",
        *names,
        "bits/dim",
        "x, steps",
        "verdict",
    )
    own = {cell.encode: cell for cell in report.cells if cell.images == images.name and cell.encode == cell.decode}
    for reference in report.references:
        if reference.images != images.name:
            continue
        again = own[reference.backend].z_error
        table.add_row(
            reference.backend,
            *(f"{_error(z)} ({_error(back)})" for z, back in zip(reference.z, again, strict=True)),
            _error(reference.bits_per_dim),
            _error(reference.x_error, scale=2**report.n_bits),
            _verdict(reference),
        )
    return table


def _batches(report: VerifyReport) -> Table:
    table = _table(
        "Batch consistency: rms of the image that differs most", "backend", "role", "batches", "rms", "verdict"
    )
    for row in report.batches:
        main = "z" if row.role == "encoder" else "x"
        figures = "bit-equal" if row.bit_equal else f"{_error(row.split[main])} ({main})"
        sizes = ", ".join(str(size) for size in row.sizes)
        table.add_row(row.backend, row.role, sizes, figures, _mark(passed=row.passed))
    return table


def _random(report: VerifyReport) -> Table:
    table = _table(
        "Random latents z -> x -> z on one backend (reported, not gated)", "backend", "T", "non-finite", "rms", "max"
    )
    for row in report.random:
        if row.encode != row.decode:
            continue
        finite = [z for z in row.z_error if math.isfinite(z.rms)]
        table.add_row(
            row.encode,
            f"{row.temperature:g}",
            f"{row.lost} of {row.n}",
            _figure(max((z.rms for z in finite), default=math.nan)),
            _figure(max((z.max for z in finite), default=math.nan)),
        )
    return table


def _limits(report: VerifyReport) -> Table:
    """Every kind of gate once: its limit, where that comes from, and the figure that came closest."""
    title = "Limits: a factor times the yardstick"
    table = _table(title, "images", "measure", "worst", "limit", "derivation")
    worst: dict[tuple[str, str, str], GateResult] = {}
    for name, gate in _gates(report):
        if gate.statistic == "non-finite" and gate.passed:
            continue
        key = (name, gate.measure, gate.statistic)
        if key not in worst or _closeness(gate) > _closeness(worst[key]):
            worst[key] = gate
    for (name, measure, statistic), gate in worst.items():
        figure = f"{gate.value:.2%}" if statistic == "rate" else _figure(gate.value)
        limit = f"{gate.limit:.0%}" if statistic == "rate" else _figure(gate.limit)
        table.add_row(
            name,
            f"{measure}, {statistic}",
            figure if gate.passed else _styled(figure, "bold red"),
            limit,
            gate.derivation,
        )
    return table


def _gates(report: VerifyReport) -> Iterator[tuple[str, GateResult]]:
    judged: list[ReferenceReport | CellReport] = [*report.references, *report.cells]
    for part in judged:
        for gate in part.gates:
            yield part.images, gate
    for batch in report.batches:
        for gate in batch.gates:
            yield "batches", gate


def _closeness(gate: GateResult) -> float:
    """Value over limit; infinite for what is no number, negative for a rate's distance from its due."""
    if not math.isfinite(gate.value):
        return math.inf
    if gate.statistic == "rate":
        return -gate.value
    return gate.value / gate.limit if gate.limit > 0 else gate.value


def _closing(report: VerifyReport) -> Iterator[Text]:
    for note in report.notes:
        yield _styled(f"note: {note}", "dim")
    for suggestion in report.suggestions:
        yield _styled(f"suggestion: {suggestion}", "")
    for failure in report.failures:
        yield _styled(f"FAIL {failure}", "red")
    for name, value in report.verdicts.to_dict().items():
        style = {"sound": "bold green", "unsound": "bold red"}.get(value, "")
        yield _styled(f"{name.replace('_', ' ')}: {value}", style)


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        right = column in ("rms", "p99.9", "max", "worst", "limit", "T")
        fixed = column in ("A", "B", "backend") or right
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=fixed)
    return table


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _verdict(part: CellReport | ReferenceReport) -> Text:
    if part.passed:
        return _mark(passed=True)
    levels = [gate.level for gate in part.gates if not gate.passed and gate.level is not None]
    return _styled(f"FAIL z{levels[0]}" if levels else "FAIL", "bold red")


def _mark(*, passed: bool) -> Text:
    return _styled("pass", "green") if passed else _styled("FAIL", "bold red")


def _figure(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "none"


def _error(summary: ErrorSummary, *, scale: float = 1.0) -> str:
    if summary.non_finite:
        return f"{summary.non_finite} non-finite"
    return _figure(summary.rms * scale)


def _exact(exactness: Exactness) -> str:
    rate = f"{exactness.images_exact}/{exactness.images}"
    pixels = "" if exactness.pixels_exact == exactness.pixels else f", {exactness.pixel_rate:.4%} of pixels"
    return f"{rate} (<{exactness.bound:.1%}){pixels}"
