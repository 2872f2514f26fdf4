"""A verification as tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from .console import Output

if TYPE_CHECKING:
    from glow_deploy.verify.gates import GateResult
    from glow_deploy.verify.measures import ErrorSummary
    from glow_deploy.verify.report import CellReport, VerifyReport

__all__ = ["show_report"]

_SHOWN_FAILURES = 12


def show_report(report: VerifyReport, output: Output) -> None:
    """Print what was measured, the gates with their derivation, and the verdict last."""
    bundle = report.bundle
    output.say(f"{bundle['path']}: {bundle['precision']}, {bundle['weights']} weights, {report.n_bits}-bit pixels")
    for backend in report.backends:
        if backend.used:
            facts = backend.encoder
            tf32 = "allowed" if facts["tf32"] else "off"
            output.say(f"  {backend.name}: {facts['provider']} on {facts['device']}, TF32 {tf32}")
        else:
            output.say(f"  {backend.name}: absent: {backend.reason}")
    for images in report.image_sets:
        cells = [cell for cell in report.cells if cell.images == images.name]
        output.say("")
        output.say(f"{images.n} images ({images.source})")
        output.show(_matrix(cells, report.n_bits))
        if any(reference.images == images.name for reference in report.references):
            output.show(_references(report, images.name))
    output.say("")
    output.show(_batches(report))
    if report.random:
        output.show(_random(report))
    output.say("")
    output.show(_gates(report))
    for note in report.notes:
        output.say(f"note: {note}")
    for failure in report.failures[:_SHOWN_FAILURES]:
        output.say(f"FAILED {failure}")
    if len(report.failures) > _SHOWN_FAILURES:
        output.say(f"... and {len(report.failures) - _SHOWN_FAILURES} more; --json lists all")
    verdicts = report.verdicts
    output.say(f"round trip: {verdicts.round_trip}; likelihood: {verdicts.likelihood}; {report.seconds:.1f} s")


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in left:
        table.add_column(column, no_wrap=True)
    for column in right:
        table.add_column(column, justify="right")
    return table


def _matrix(cells: Iterable[CellReport], n_bits: int) -> Table:
    table = _table(
        "x -> z -> x in pixel steps, z -> x -> z over all levels",
        ("encode", "decode"),
        ("non-finite", "x rms", "x p99.9", "x max", "z rms", "exact images", "lost (95 %)", ""),
    )
    for cell in cells:
        x, exact = cell.x_error, cell.exactness
        step = 2**n_bits
        table.add_row(
            cell.encode,
            cell.decode,
            str(x.non_finite + sum(z.non_finite for z in cell.z_error)),
            *(f"{value * step:.1e}" for value in (x.rms, x.p999, x.max)),
            f"{_rms(cell.z_error):.1e}",
            f"{exact.images_exact}/{exact.images}",
            f"<= {exact.bound:.2%}",
            _verdict(cell.passed),
        )
    return table


def _references(report: VerifyReport, images: str) -> Table:
    table = _table(
        "against the trained model in float64",
        ("backend",),
        ("non-finite", "z rms", "z max", "bits/dim rms", "bits/dim max", "x rms (steps)", ""),
    )
    for found in report.references:
        if found.images != images:
            continue
        lost = found.x_error.non_finite + found.bits_per_dim.non_finite + sum(z.non_finite for z in found.z)
        table.add_row(
            found.backend,
            str(lost),
            f"{_rms(found.z):.1e}",
            f"{max(z.max for z in found.z):.1e}",
            f"{found.bits_per_dim.rms:.1e}",
            f"{found.bits_per_dim.max:.1e}",
            f"{found.x_error.rms * 2**report.n_bits:.1e}",
            _verdict(found.passed),
        )
    return table


def _batches(report: VerifyReport) -> Table:
    table = _table("the batch an image travels in", ("backend", "half", "sizes"), ("equal rows", "split", ""))
    for batch in report.batches:
        bits = "equal to the bit" if batch.bit_equal else f"{_largest(batch.equal_rows.values()):.1e}"
        split = "equal to the bit" if batch.bit_equal else f"{_largest(batch.split.values()):.1e}"
        sizes = ", ".join(map(str, batch.sizes))
        table.add_row(batch.backend, batch.role, sizes, bits, split, _verdict(batch.passed))
    return table


def _random(report: VerifyReport) -> Table:
    table = _table(
        "latents drawn at random (reported, not gated)", ("encode", "decode"), ("T", "draws", "lost", "z max", "x max")
    )
    for row in report.random:
        table.add_row(
            row.encode,
            row.decode,
            f"{row.temperature:g}",
            str(row.n),
            str(row.lost),
            f"{_largest(row.z_error):.1e}",
            f"{row.x_between.max:.1e}",
        )
    return table


def _gates(report: VerifyReport) -> Table:
    """One line a gate: where it came closest to its limit, over all cells and engines."""
    closest: dict[tuple[str, str], GateResult] = {}
    for gates in (item.gates for group in (report.cells, report.references, report.batches) for item in group):
        for gate in gates:
            if gate.statistic == "non-finite" and gate.passed:
                continue  # the tables above show the counts
            key = (gate.measure, gate.statistic)
            if key not in closest or _strain(gate) > _strain(closest[key]):
                closest[key] = gate
    table = _table("gates, each where it is closest to its limit", ("measure", "of"), ("value", "limit"))
    table.add_column("")
    table.add_column("derivation", overflow="fold")
    for gate in closest.values():
        rate = gate.statistic == "rate"
        values = (f"{number:.4%}" if rate else f"{number:.2e}" for number in (gate.value, gate.limit))
        table.add_row(gate.measure, gate.statistic, *values, _verdict(gate.passed), Text(gate.derivation))
    return table


def _strain(gate: GateResult) -> float:
    """How close a gate is to its limit: more than 1 is missed."""
    if not math.isfinite(gate.value):
        return math.inf
    if gate.statistic == "rate":
        return gate.limit / gate.value if gate.value > 0 else math.inf
    return gate.value / gate.limit if gate.limit > 0 else (math.inf if gate.value > 0 else 0.0)


def _verdict(passed: bool) -> str:
    return "[green]pass[/]" if passed else "[bold red]FAIL[/]"


def _rms(levels: Sequence[ErrorSummary]) -> float:
    """Root mean square over all latents of all levels."""
    count = sum(level.n - level.non_finite for level in levels)
    square = sum(level.rms**2 * (level.n - level.non_finite) for level in levels if level.n > level.non_finite)
    return math.sqrt(square / count) if count else math.nan


def _largest(summaries: Iterable[ErrorSummary]) -> float:
    return max((summary.max for summary in summaries), default=math.nan)
