"""The stress test for people: rich tables, narrow enough for 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glow_deploy.verify.report.stress import StressReport
from glow_deploy.verify.report.stress_rows import AttackedBackend, AttackReport, InputRow

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["stress_tables"]

_STYLES = {"sound": "green", "reported": "yellow", "unsound": "bold red"}


def stress_tables(report: StressReport) -> list[RenderableType]:
    """Lay a stress report out for the terminal, section by section, with the verdict of each."""
    parts: list[RenderableType] = [
        _inputs(report),
        _temperatures(report, latents=False),
        _temperatures(report, latents=True),
        _passes(report),
    ]
    if report.attack is not None:
        parts.append(_attack(report, report.attack))
    parts.append(_determinism(report))
    parts += [_styled(f"note: {note}", "dim") for note in report.notes]
    parts += [_styled(f"FAIL {failure}", "red") for failure in report.failures]
    parts.append(_verdicts(report))
    return parts


def _inputs(report: StressReport) -> Table:
    """One line a kind of image: the backend that fares worst on it."""
    title = "Stress images: x -> z -> x in pixel steps, on the backend that fares worst"
    table = _table(title, "images", "n", "non-finite", "rms", "max", "exact", "backend")
    for name in dict.fromkeys(row.name for row in report.inputs):
        row = max((row for row in report.inputs if row.name == name), key=_badness)
        lost = f"{row.non_finite} ({row.stage})" if row.non_finite else "0"
        table.add_row(
            name,
            str(row.n),
            _styled(lost, "bold red" if row.non_finite else ""),
            _figure(row.rms * 2**report.n_bits),
            _figure(row.max * 2**report.n_bits),
            f"{row.images_exact}/{row.n}",
            row.backend,
        )
    return table


def _badness(row: InputRow) -> tuple[int, float]:
    return row.non_finite, row.max if math.isfinite(row.max) else math.inf


def _temperatures(report: StressReport, *, latents: bool) -> Table:  # one column a temperature
    title = "z -> x -> z, rms, or draws lost, at T" if latents else "Decode: largest |x - 0.5|, or draws lost, at T"
    temperatures = sorted({row.temperature for row in report.temperatures})
    table = _table(title, "backend", *(f"{temperature:g}" for temperature in temperatures))
    rows = {(row.backend, row.temperature): row for row in report.temperatures}
    for backend in dict.fromkeys(row.backend for row in report.temperatures):
        cells: list[str | Text] = []
        for temperature in temperatures:
            row = rows[backend, temperature]
            lost = row.z_non_finite if latents else row.non_finite
            figure = f"{lost}/{row.n}" if lost else _short(row.z_rms if latents else row.largest)
            bad = not row.recovered if latents else lost > 0
            cells.append(_styled(figure, "bold red" if bad else ""))
        table.add_row(backend, *cells)
    return table


def _passes(report: StressReport) -> Table:
    title = "Repeated passes: drift in pixel steps (growth 1 is linear)"
    table = _table(title, "backend", "passes", "non-finite", "rms", "max", "exact", "growth")
    for row in report.passes:
        growth = _styled(f"{row.growth:.2g}", "bold red" if row.geometric else "")
        table.add_row(
            row.backend,
            str(row.passes),
            _styled(f"{row.non_finite}/{row.n}", "bold red" if row.non_finite else ""),
            _figure(row.rms * 2**report.n_bits),
            _figure(row.max * 2**report.n_bits),
            f"{row.images_exact}/{row.n}",
            growth if math.isfinite(row.growth) else "",
        )
    return table


def _attack(report: StressReport, attack: AttackReport) -> Table:
    title = (
        f"Half-bin attack on the trained model, {attack.steps} steps: rms in pixel steps\n"
        f"(worst of as many random points: {_figure(attack.random_worst_rms * 2**report.n_bits)})"
    )
    table = _table(title, "on", "start", "mean", "worst", "max", "ratio", "exact", "non-finite")

    def add(row: AttackedBackend, name: str) -> None:
        table.add_row(
            name,
            *(
                _figure(value * 2**report.n_bits)
                for value in (row.start_rms, row.mean_rms, row.worst_rms, row.worst_max)
            ),
            f"{row.ratio:.1f}" if math.isfinite(row.ratio) else "none",
            f"{row.exact_images}/{row.images}",
            _styled(str(row.non_finite), "bold red" if row.non_finite else ""),
        )

    add(attack.attacked, "trained model")
    for row in attack.deployed:
        add(row, row.backend)
    return table


def _determinism(report: StressReport) -> Table:
    table = _table("Determinism: the same input again", "backend", "runs", "fresh processes", "largest difference")
    for row in report.determinism:
        again = "none" if row.processes_equal is None else f"{row.processes} {_equal(equal=row.processes_equal)}"
        difference = "" if row.equal else f"{row.largest_difference:.1e} in {row.output}"
        table.add_row(row.backend, f"{row.runs} {_equal(equal=row.runs_equal)}", again, difference)
    return table


def _equal(*, equal: bool) -> str:
    return "equal" if equal else "differ"


def _verdicts(report: StressReport) -> Text:
    from rich.text import Text

    line = Text("stress: ")
    for index, (section, verdict) in enumerate(report.verdicts.items()):
        line.append(", " if index else "")
        line.append(f"{section} {verdict}", style=_STYLES[verdict])
    return line


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        words = column in ("images", "backend", "on", "runs", "fresh processes", "largest difference")
        table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=column == "backend")
    return table


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _figure(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "none"


def _short(value: float) -> str:
    """Two digits in six characters, for seven columns beside a backend's name."""
    if not math.isfinite(value):
        return "none"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
