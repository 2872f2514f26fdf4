"""What `glow-deploy score` says: for people, and as JSON."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from glow_deploy.scoring.score import HeldOut, Scores
    from glow_deploy.scoring.sets import ScoredSet, Separation

__all__ = ["Strangest", "facts", "summary", "verdicts"]

_STRANGEST = 5


class Strangest:
    """Keeps the few pictures that are least typical, or least likely where there is no reference."""

    def __init__(self, reference: HeldOut | None) -> None:
        self._reference = reference
        self._kept: list[tuple[float, str]] = []

    def add(self, scores: Scores) -> None:
        """Look at one batch."""
        bits = scores.bits_per_dim
        strange = bits if self._reference is None else self._reference.typicality(bits)
        keys = [float(key) if math.isfinite(key) else math.inf for key in strange]
        keyed = list(zip(keys, scores.names, strict=True))
        self._kept = heapq.nlargest(_STRANGEST, self._kept + keyed)

    def lines(self, name: str) -> Iterator[str]:
        """Name the pictures that were kept, of the set `name`."""
        what = "least likely" if self._reference is None else "least typical"
        unit = "bits/dim" if self._reference is None else "bits/dim from the mean"
        yield f"{what} of {name}:"
        for key, picture in self._kept:
            yield f"  {picture}: {key:.3f} {unit}"


def facts(sets: Sequence[ScoredSet], known: HeldOut | None, separations: Sequence[Separation]) -> dict[str, object]:
    """What was measured, for JSON."""
    reference = None
    if known is not None:
        bits = known.bits_per_dim
        reference = {"source": known.source, "n": bits.size, "mean": known.mean, "deviation": known.deviation}
    return {
        "sets": [
            {
                "name": scored.name,
                "source": scored.source,
                "n": len(scored),
                "nonfinite": scored.nonfinite,
                "bits_per_dim": scored.figures(known),
                "level_squares": scored.level_squares,
            }
            for scored in sets
        ],
        "reference": reference,
        "separations": separations,
    }


def summary(sets: Sequence[ScoredSet], known: HeldOut | None) -> Table:
    """One row a set."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    levels = len(sets[0].level_squares)
    columns = ("pictures", "not finite", "bits/dim", "deviation", "median", *(f"z{i}²" for i in range(1, levels + 1)))
    table.add_column("set", overflow="fold")
    for column in (*columns, *([] if known is None else ["from the mean"])):
        table.add_column(column, justify="right", no_wrap=True)
    for scored in sets:
        figures = scored.figures(known)
        cells = [f"{len(scored):,}", f"{scored.nonfinite:,}"]
        cells += [f"{figures[key]:.3f}" for key in ("mean", "deviation", "median")]
        cells += [f"{value:.2f}" for value in scored.level_squares]
        cells += [f"{figures['typicality']:.3f}"] if "typicality" in figures else []
        table.add_row(scored.name, *cells)
    return table


def verdicts(sets: Sequence[ScoredSet], known: HeldOut | None, separations: Sequence[Separation]) -> Iterator[str]:
    """What the table does not show, line by line."""
    for scored in sets:
        if scored.nonfinite:
            yield (
                f"not finite: {scored.nonfinite} of {len(scored)} pictures of {scored.name}: nan or inf in the "
                "table, and counted as the least likely of all"
            )
    if known is None:
        yield "no reference, so no typicality: name held-out images of the training data with --reference"
    else:
        yield f"reference: {known.mean:.3f} bits/dim on average, deviation {known.deviation:.3f} ({known.source})"
    for found in separations:
        areas = {"likelihood": found.likelihood, "typicality": found.typicality}
        shown = [
            f"{area.value:.3f} by {name} ({area.low:.3f} to {area.high:.3f})"
            for name, area in areas.items()
            if area is not None
        ]
        yield f"AUC, {found.foreign} told from {found.own}: {', '.join(shown)}"
        if found.likelihood.high < 0.5:
            yield f"  {found.foreign} is likelier than {found.own} under this model, as simpler pictures often are"
