"""Latents drawn at random, decoded and encoded again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocks import Column, Reproduce, Section, Table
from .formats import number, plain
from .tables import lost, name, right, text

__all__ = ["random_section"]


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
                right(plain(row.get("temperature"))),
                lost(row.get("non_finite_draws"), row.get("n")),
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
