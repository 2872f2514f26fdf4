"""The report of a verification as rich tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from glow_deploy.canary.report import CanaryResult
from glow_deploy.numerics.measures import ErrorSummary, Exactness
from glow_deploy.verify.backends.backend import REFERENCE
from glow_deploy.verify.report.rows import CellReport, ReferenceReport, spelt_sizes
from glow_deploy.verify.report.verification import BackendReport, ImageSetReport, VerifyReport

from .answer import answer
from .layout import figure, new_table, styled
from .limits import limits_table

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["report_tables"]

_LEGEND = (
    "rms: root mean square over all pixels; p99.9: 99.9 % of pixels err less; exact: images that come back pixel for "
    "pixel; (<x): less than x of all such images is lost, with 95 % confidence"
)
_LEGEND_OF_PIXELS = "; x%: share of pixels that come back"


def report_tables(report: VerifyReport, *, verbose: bool = False) -> Group:
    """Lay a report out for the terminal: the answer first, then the figures.

    Args:
        report: of `verify`.
        verbose: with every failure, and with the table of limits and how each came about.
    """
    from rich.console import Group

    parts: list[RenderableType] = [*answer(report, verbose=verbose), *_backends(report)]
    for images in report.image_sets:
        parts += [_heading(images, report.n_bits), _matrix(report, images)]
        if images is report.image_sets[0]:
            parts.append(_legend(report, images))
        if any(reference.images == images.name for reference in report.references):
            parts.append(_references(report, images))
    parts += [_weights(report), _batches(report)]
    if report.random:
        parts.append(_random(report))
    parts += _apart(_sections(report))
    if verbose:
        parts.append(limits_table(report))
    parts += _apart(_closing(report))
    return Group(*parts)


def _apart(parts: Iterable[RenderableType]) -> list[RenderableType]:
    """With an empty line before them, if there are any."""
    found = list(parts)
    return ["", *found] if found else []


def _sections(report: VerifyReport) -> Iterator[RenderableType]:
    """What was measured only because it was asked for."""
    if report.steps is not None:
        from glow_deploy.verify.steps import steps_table

        yield steps_table(report.steps)
    if report.budget is not None:
        from glow_deploy.budget import budget_table, prediction_table

        yield budget_table(report.budget)
        yield prediction_table(report.budget, n_bits=report.n_bits)
    if report.stress is not None:
        from glow_deploy.verify.stress import stress_tables

        yield from stress_tables(report.stress)
    if report.baseline is not None:
        from glow_deploy.verify.regression import baseline_table

        yield baseline_table(report.baseline)


def _backends(report: VerifyReport) -> Iterator[RenderableType]:
    """Those that ran, and why the others did not."""
    table = new_table("Backends", "backend", "runs on", "computes in")
    for backend in report.backends:
        facts = backend.decoder
        if facts is not None:
            table.add_row(backend.name, f"{facts['provider']}, {facts['device']}", _arithmetic(backend))
    yield table
    absent: dict[str, list[str]] = {}
    for backend in report.backends:
        if not backend.used:
            absent.setdefault(backend.reason, []).append(backend.name)
    for reason, names in absent.items():
        named = reason.startswith(f"{names[0]} ")
        yield styled(f"absent: {reason}" if named else f"absent: {', '.join(names)}: {reason}", "dim")


def _arithmetic(backend: BackendReport) -> Text:
    if backend.canary is None:
        return styled("float64" if backend.name == REFERENCE else "as the graphs say", "")
    text = backend.canary.text
    sound = isinstance(backend.canary, CanaryResult) and backend.canary.float32
    return styled(text, "" if sound else "bold red")


def _heading(images: ImageSetReport, n_bits: int) -> Text:
    yardstick = images.yardstick
    steps = yardstick.x_hat.rms * 2**n_bits
    return styled(
        f"\n{images.n} {images.name} images {images.source}\n"
        f"yardstick: {yardstick.source}: x -> z -> x rms {figure(steps)} pixel steps",
        "bold",
    )


def _matrix(report: VerifyReport, images: ImageSetReport) -> Table:
    table = new_table(
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
            *(figure(value * 2**report.n_bits) for value in (x.rms, x.p999, x.max)),
            _exact(cell.exactness),
            _verdict(cell),
        )
    return table


def _legend(report: VerifyReport, images: ImageSetReport) -> Text:
    cells = [cell.exactness for cell in report.cells if cell.images == images.name]
    partly = any(exactness.pixels_exact < exactness.pixels for exactness in cells)
    return styled(_LEGEND + (_LEGEND_OF_PIXELS if partly else ""), "dim")


def _reference(report: VerifyReport) -> str:
    return "the trained model in float64" if report.exact is None else "the reference of the integers, as numbers"


def _references(report: VerifyReport, images: ImageSetReport) -> Table:
    """Per level, every backend against float64, and the re-encoded latents of its own round trip."""
    levels = len(report.references[0].z)
    names = [f"z{level}" for level in range(1, levels + 1)]
    table = new_table(
        f"Against {_reference(report)}: rms (and z -> x -> z on the same backend)",
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
        again = own[reference.backend].z_error if reference.backend in own else (None,) * levels
        table.add_row(
            reference.backend,
            *(
                _error(z) if back is None or not back.n else f"{_error(z)} ({_error(back)})"
                for z, back in zip(reference.z, again, strict=True)
            ),
            _error(reference.bits_per_dim),
            _error(reference.x_error, scale=2**report.n_bits),
            _verdict(reference),
        )
    return table


def _weights(report: VerifyReport) -> Table:
    table = new_table("Weights and structure of the graphs, which are not run for it", "compared", "found", "verdict")
    for check in report.weights.checks:
        mark = styled("not compared", "dim") if check.found == "not compared" else _mark(passed=check.found == "pass")
        table.add_row(check.name, styled(check.detail, ""), mark)
    return table


def _batches(report: VerifyReport) -> Table:
    table = new_table(
        "Batch consistency: rms of the image that differs most", "backend", "role", "batches", "rms", "verdict"
    )
    for row in report.batches:
        main = "z" if row.role == "encoder" else "x"
        figures = "bit-equal" if row.bit_equal else f"{_error(row.split[main])} ({main})"
        table.add_row(row.backend, row.role, spelt_sizes(row.sizes), figures, _mark(passed=row.passed))
    return table


def _random(report: VerifyReport) -> Table:
    table = new_table(
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
            figure(max((z.rms for z in finite), default=math.nan)),
            figure(max((z.max for z in finite), default=math.nan)),
        )
    return table


def _closing(report: VerifyReport) -> Iterator[Text]:
    for note in report.notes:
        yield styled(f"note: {note}", "dim")
    for suggestion in report.suggestions:
        yield styled(f"suggestion: {suggestion}", "")


def _verdict(part: CellReport | ReferenceReport) -> Text:
    if part.unjudged:
        return styled("not judged", "dim")
    if part.passed:
        return _mark(passed=True)
    levels = [gate.level for gate in part.gates if not gate.passed and gate.level is not None]
    return styled(f"FAIL z{levels[0]}" if levels else "FAIL", "bold red")


def _mark(*, passed: bool) -> Text:
    return styled("pass", "green") if passed else styled("FAIL", "bold red")


def _error(summary: ErrorSummary, *, scale: float = 1.0) -> str:
    if summary.non_finite:
        return f"{summary.non_finite} non-finite"
    return figure(summary.rms * scale)


def _exact(exactness: Exactness) -> str:
    rate = f"{exactness.images_exact}/{exactness.images}"
    pixels = "" if exactness.pixels_exact == exactness.pixels else f" {exactness.pixel_rate:.4%}"
    return f"{rate} (<{exactness.bound:.1%}){pixels}"
