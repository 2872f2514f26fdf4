"""L and K from the numbers in tensors' names: nothing in most files says them otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .reader import Tensors

__all__ = ["level_counts", "numbered_levels"]

# No more digits than a count can have: an absurd one is a tensor without a place.
_LAYER = re.compile(r"flow\.layers\.(0|[1-9][0-9]{0,5})\.([a-z0-9_]+)\.")


def level_counts(numbers: Iterable[tuple[int, int]]) -> list[int]:
    """Count the steps of every level, where names hold (level, step), each from 0; at least one pair.

    By the highest numbers: a gap shows later as a missing tensor, and a level without any number has 0.
    """
    found = list(numbers)
    counts = [0] * (1 + max(level for level, _ in found))
    for level, step in found:
        counts[level] = max(counts[level], step + 1)
    return counts


def numbered_levels(tensors: Tensors, *, split: str = "conv") -> list[tuple[list[str], str | None]]:
    """Find the layers of every level, finest first, by the names `flow.layers.{n}.`.

    One list holds them all: squeeze, K steps of flow, split; squeeze, K steps, ... A squeeze has a number and no
    tensors.

    Args:
        tensors: with a layer of one name in the splits and others in the steps.
        split: the name of that one.

    Returns:
        For each level the paths of its steps in encoding order and that of its split, None at the last level.

    Raises:
        CheckpointError: the numbers have gaps or do not repeat from level to level.
    """
    layers = [(int(found[1]), found[2]) for found in map(_LAYER.match, tensors.names) if found]
    splits = {number for number, part in layers if part == split}
    steps = {number for number, part in layers if part != split}
    levels = len(splits) + 1
    count = min(splits) - 1 if splits else max(steps, default=0)
    if count < 1:
        raise tensors.refuse("it has no step of flow before its first split; the file is incomplete")
    firsts = [level * (count + 2) + 1 for level in range(levels)]
    wanted_splits = [first + count for first in firsts[:-1]]
    problem = _difference(
        (first + step for first in firsts for step in range(count)), steps, kind="step of flow"
    ) or _difference(wanted_splits, splits, kind="split")
    if problem is not None:
        raise tensors.refuse(
            f"its layers do not repeat from level to level: with {levels} levels of {count} steps each, {problem}; "
            "the file is incomplete, or the code that wrote it was changed"
        )
    return [
        (
            [f"flow.layers.{first + step}" for step in range(count)],
            f"flow.layers.{first + count}" if first != firsts[-1] else None,
        )
        for first in firsts
    ]


def _difference(wanted: Iterable[int], found: set[int], *, kind: str) -> str | None:
    """Name a layer that is missing or one too many; stops at the first, so that absurd counts take no time."""
    seen = set()
    for number in wanted:
        if number not in found:
            return f"layer {number} should be a {kind}"
        seen.add(number)
    extra = found - seen
    return f"layer {min(extra)} should not be a {kind}" if extra else None
