"""Away from the golden images: stress, temperature, repetition, and latents drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .blocks import Block, Cell, Column, Reproduce, Section, Table
from .formats import count, number, value_of
from .tables import name, right, text

__all__ = ["random_section", "stress_section"]


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
            entry=lambda row: f"largest |x| {number(row.get('largest'))}",
            caption="A picture lies between 0 and 1; a decode far outside it is no picture, though it may be finite.",
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
        else f"{', '.join(backends)}: pictures are first not finite at T={value_of(temperature):g}."
        for temperature, backends in firsts.items()
    ]
    if not stress.get("attack"):
        notes.append("The half-bin gradient attack was not run: it needs the decoder's gradient (--ckpt).")
    return Section(
        id="stress",
        title="Stress and temperature",
        lead="Inputs that no training image looks like. Non-finite values are counted first; errors are those of the "
        "finite rest, in pixel steps.",
        notes=tuple(notes),
        blocks=tuple(block for block in blocks if block is not None),
    )


def random_section(report: Mapping[str, Any]) -> Section | None:
    """Latents drawn at random: reported, not gated."""
    rows = list(report.get("random_latents") or ())
    if not rows:
        return None
    levels = max(len(row.get("z_x_z") or {}) for row in rows)
    table = Table(
        title="Latents drawn at random",
        columns=(
            Column(label="Decode"),
            Column(label="Encode"),
            Column(label="T", right=True),
            Column(label="non-finite", right=True),
            *(Column(label=f"z{level} rms", right=True) for level in range(1, levels + 1)),
            Column(label="between backends, max", right=True),
        ),
        rows=tuple(
            (
                name(row.get("decode")),
                text(row.get("encode")),
                right(f"{value_of(row.get('temperature')):g}"),
                _lost(row.get("non_finite_draws"), row.get("n")),
                *(
                    right(number(((row.get("z_x_z") or {}).get(f"z{level}") or {}).get("rms")))
                    for level in range(1, levels + 1)
                ),
                right(number(((row.get("x_between_backends") or {}).get("pixel_steps") or {}).get("max"))),
            )
            for row in rows
        ),
        caption="Between backends: the decoded picture against that of the first backend, in pixel steps.",
        folded=len(rows) > 8,
        reproduce=Reproduce(command=str(report.get("command") or ""), key="random_latents"),
    )
    return Section(
        id="random",
        title="Samples",
        lead="z -> x -> z from latents drawn at temperature T. Reported and not gated: a sound model can fail this far "
        "from the data.",
        blocks=(table,),
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
            else _lost(row.get("non_finite"), row.get("n"), said=True)
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
                _lost(row.get("non_finite")),
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
    columns = ("Backend",), ("T", "n", "non-finite", "largest |x|", "z -> x -> z rms")
    return _table(
        "Temperature, all figures",
        columns,
        [
            (
                name(row.get("backend")),
                right(f"{value_of(row.get('temperature')):g}"),
                right(count(row.get("n"))),
                _lost(row.get("non_finite"), row.get("n")),
                right(number(row.get("largest"))),
                right(number(row.get("z_rms"))),
            )
            for row in rows
        ],
        reproduce,
        caption="z -> x -> z in units of z.",
        folded=True,
    )


def _passes(rows: Sequence[Mapping[str, Any]], n_bits: int, reproduce: Reproduce) -> Block | None:
    columns = ("Backend",), ("passes", "non-finite", "rms", "max")
    return _table(
        "Repeated passes",
        columns,
        [
            (
                name(row.get("backend")),
                right(count(row.get("passes"))),
                _lost(row.get("non_finite")),
                right(_steps(row.get("rms"), n_bits)),
                right(_steps(row.get("max"), n_bits)),
            )
            for row in rows
        ],
        reproduce,
        caption="The image encoded and decoded again and again, against the first, in pixel steps.",
    )


def _attack(attack: Mapping[str, Any] | None, n_bits: int, reproduce: Reproduce) -> Block | None:
    if not attack:
        return None
    columns = (
        ("Backend",),
        ("images", "steps", "half width", "rms before", "worst rms", "worst max", "non-finite", "exact"),
    )
    row = (
        name(attack.get("backend")),
        right(count(attack.get("images"))),
        right(count(attack.get("steps"))),
        right(_steps(attack.get("epsilon"), n_bits)),
        right(_steps(attack.get("start_rms"), n_bits)),
        right(_steps(attack.get("worst_rms"), n_bits)),
        right(_steps(attack.get("worst_max"), n_bits)),
        _lost(attack.get("non_finite")),
        right(f"{count(attack.get('exact_images'))}/{count(attack.get('images'))}"),
    )
    caption = "Images moved within their own bins, along the gradient, to where they come back worst; in pixel steps."
    return _table("Half-bin attack", columns, [row], reproduce, caption=caption)


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
    rows: list[tuple[Cell, ...]],
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


def _lost(non_finite: Any, n: Any = None, *, said: bool = False) -> Cell:
    lost = value_of(non_finite)
    of = (f" of {count(n)}" if n is not None else "") + (" not finite" if said else "")
    if lost == 0.0:
        return Cell(text=f"0{of}", kind="number")
    return Cell(text=f"{count(lost)}{of}" if math.isfinite(lost) else "not counted", kind="lost")


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: Any) -> Cell:
    return text("not tried" if value is None else "yes" if value else "no")
