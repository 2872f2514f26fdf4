"""Away from the golden images: unusual inputs, temperature, repetition, the attack and determinism."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .blocks import Block, Cell, Column, Reproduce, Section, Table
from .formats import count, number, plain, value_of
from .tables import lost, name, right, text

__all__ = ["stress_section"]


def stress_section(report: Mapping[str, Any]) -> Section:
    """Unusual images, temperatures, repeated passes, the attack and determinism."""
    stress = report.get("stress")
    if not stress:
        return Section(id="stress", title="Stress and temperature", lead="Not measured: add --stress.")
    command = str(report.get("command") or "")
    n_bits = int(report.get("n_bits") or 8)
    blocks = [
        _by_backend(
            "Unusual images, by backend",
            "Input",
            stress.get("inputs") or (),
            key="name",
            entry=lambda row: f"rms {_steps(row.get('rms'), n_bits)}, {count(row.get('images_exact'))} exact",
            caption="rms in pixel steps, and how many images are exact.",
            reproduce=Reproduce(command=command, key="stress.inputs"),
        ),
        _inputs(stress.get("inputs") or (), n_bits, Reproduce(command=command, key="stress.inputs")),
        _by_backend(
            "Temperature, by backend",
            "T",
            stress.get("temperatures") or (),
            key="temperature",
            entry=lambda row: number(row.get("largest")),
            caption="Largest |x - 0.5| of the decodes: 0.5 is the edge of the image range.",
            reproduce=Reproduce(command=command, key="stress.temperatures"),
        ),
        _temperatures(stress.get("temperatures") or (), Reproduce(command=command, key="stress.temperatures")),
        _passes(stress.get("passes") or (), n_bits, Reproduce(command=command, key="stress.passes")),
        _attack(stress.get("attack"), n_bits, Reproduce(command=command, key="stress.attack")),
        _determinism(stress.get("determinism") or (), Reproduce(command=command, key="stress.determinism")),
    ]
    firsts: dict[float | None, list[str]] = {}
    for backend, temperature in (stress.get("first_non_finite") or {}).items():
        firsts.setdefault(temperature, []).append(str(backend))
    notes = [
        f"{', '.join(backends)}: no temperature that was tried gave a non-finite picture."
        if temperature is None
        else f"{', '.join(backends)}: pictures are first not finite at T={plain(temperature)}."
        for temperature, backends in firsts.items()
    ]
    notes += [str(failure.get("text") or _failure(failure)) for failure in stress.get("failures") or ()]
    notes += [str(note) for note in stress.get("notes") or ()]
    if not stress.get("attack") and not stress.get("notes"):
        notes.append("The half-bin gradient attack was not run.")
    return Section(
        id="stress",
        title="Stress and temperature",
        lead="Inputs that no training image looks like. Non-finite values are counted first; errors are those of the "
        "finite rest, in pixel steps.",
        notes=tuple(notes),
        blocks=tuple(block for block in blocks if block is not None),
    )


def _failure(failure: Mapping[str, Any]) -> str:
    return (
        f"Failed: {failure.get('backend')}, {failure.get('input')}: {failure.get('non_finite')} of {failure.get('n')} "
        f"images are not finite in their {failure.get('stage')}: {failure.get('cause')}"
    )


def _by_backend(
    title: str,
    heading: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str,
    entry: Callable[[Mapping[str, Any]], str],
    caption: str,
    reproduce: Reproduce,
) -> Block | None:
    """One line an input, one column a backend; a loss hides the figures of the finite rest."""
    if not rows:
        return None
    backends = list(dict.fromkeys(str(row.get("backend")) for row in rows))
    kinds = list(dict.fromkeys(row.get(key) for row in rows))
    found = {(row.get(key), str(row.get("backend"))): row for row in rows}

    def cell(kind: Any, backend: str) -> Cell:
        row = found.get((kind, backend))
        if row is None:
            return Cell(text="not tried", kind="muted")
        return (
            right(entry(row))
            if value_of(row.get("non_finite")) == 0.0
            else lost(row.get("non_finite"), row.get("n"), said=True)
        )

    return Table(
        title=title,
        columns=(Column(label=heading), *(Column(label=backend, right=True) for backend in backends)),
        rows=tuple((name(_word(kind)), *(cell(kind, backend) for backend in backends)) for kind in kinds),
        caption=caption,
        reproduce=reproduce,
    )


def _inputs(rows: Sequence[Mapping[str, Any]], n_bits: int, reproduce: Reproduce) -> Block | None:
    columns = ("Backend", "Input"), ("n", "non-finite", "rms", "max", "images exact")
    return _table(
        "Unusual images, all figures",
        columns,
        [
            (
                name(row.get("backend")),
                text(row.get("name")),
                right(count(row.get("n"))),
                lost(row.get("non_finite")),
                right(_steps(row.get("rms"), n_bits)),
                right(_steps(row.get("max"), n_bits)),
                right(f"{count(row.get('images_exact'))}/{count(row.get('n'))}"),
            )
            for row in rows
        ],
        reproduce,
        caption="Errors in pixel steps.",
        folded=True,
    )


def _temperatures(rows: Sequence[Mapping[str, Any]], reproduce: Reproduce) -> Block | None:
    columns = ("Backend",), ("T", "n", "non-finite", "largest |x - 0.5|", "z -> x -> z rms", "z non-finite")
    return _table(
        "Temperature, all figures",
        columns,
        [
            (
                name(row.get("backend")),
                right(plain(row.get("temperature"))),
                right(count(row.get("n"))),
                lost(row.get("non_finite"), row.get("n")),
                right(number(row.get("largest"))),
                right(number(row.get("z_rms"))),
                lost(row.get("z_non_finite", 0)),
            )
            for row in rows
        ],
        reproduce,
        caption="z -> x -> z in units of z.",
        folded=True,
    )


def _passes(rows: Sequence[Mapping[str, Any]], n_bits: int, reproduce: Reproduce) -> Block | None:
    columns = ("Backend",), ("passes", "non-finite", "rms", "max", "growth")
    return _table(
        "Repeated passes",
        columns,
        [
            (
                name(row.get("backend")),
                right(count(row.get("passes"))),
                lost(row.get("non_finite")),
                right(_steps(row.get("rms"), n_bits)),
                right(_steps(row.get("max"), n_bits)),
                right(number(row["growth"]) if row.get("growth") is not None else ""),
            )
            for row in rows
        ],
        reproduce,
        caption="The image encoded and decoded again and again, against the first, in pixel steps. Growth: over what "
        "equal passes add up to; more than 2 is geometric.",
    )


def _attack(attack: Mapping[str, Any] | None, n_bits: int, reproduce: Reproduce) -> Block | None:
    if not attack:
        return None
    figures = ("images", "rms before", "worst rms", "worst max", "non-finite", "exact")
    rows = [
        (
            name(f"{row.get('backend')} (attacked)" if row is attack else row.get("backend")),
            right(count(row.get("images"))),
            right(_steps(row.get("start_rms"), n_bits)),
            right(_steps(row.get("worst_rms"), n_bits)),
            right(_steps(row.get("worst_max"), n_bits)),
            lost(row.get("non_finite")),
            right(f"{count(row.get('exact_images'))}/{count(row.get('images'))}"),
        )
        for row in (attack, *(attack.get("deployed") or ()))
    ]
    luck = attack.get("random_worst_rms")
    caption = (
        f"Images moved by at most {_steps(attack.get('epsilon'), n_bits)} pixel steps, within their own bins, along "
        f"the gradient to where they come back worst: {count(attack.get('steps'))} steps. In pixel steps."
    )
    if luck is not None:
        caption += f" As many random points come back no worse than {_steps(luck, n_bits)} (rms)."
    return _table("Half-bin attack", (("Backend",), figures), rows, reproduce, caption=caption)


def _determinism(rows: Sequence[Mapping[str, Any]], reproduce: Reproduce) -> Block | None:
    columns = ("Backend", "Equal over runs", "Equal over processes"), ("largest difference",)
    return _table(
        "Determinism",
        columns,
        [
            (
                name(row.get("backend")),
                _yes(row.get("runs_equal")),
                _yes(row.get("processes_equal")),
                right(number(row.get("largest_difference"))),
            )
            for row in rows
        ],
        reproduce,
        caption="Equal to the last bit; reported, since no backend promises it.",
    )


def _table(
    title: str,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    rows: Sequence[tuple[Cell, ...]],
    reproduce: Reproduce,
    *,
    caption: str,
    folded: bool = False,
) -> Table | None:
    """Make a table whose first columns hold words and whose last ones figures; None of no rows."""
    if not rows:
        return None
    words, figures = columns
    return Table(
        title=title,
        columns=(*(Column(label=label) for label in words), *(Column(label=label, right=True) for label in figures)),
        rows=tuple(rows),
        caption=caption,
        folded=folded,
        reproduce=reproduce,
    )


def _steps(value: Any, n_bits: int) -> str:
    return number(value_of(value) * 2**n_bits)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else plain(value)


def _yes(value: Any) -> Cell:
    return text("not tried" if value is None else "yes" if value else "no")
