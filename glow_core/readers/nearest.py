"""Which known layout a checkpoint of an unknown one is nearest to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from glow_core.state import key_name

from .reader import Reader

__all__ = ["nearest_layout"]

_NUMBER = re.compile(r"\d+")
_LEAST = 0.2  # a smaller share of common names says nothing
_SHOWN = 3


def nearest_layout(names: Iterable[str], readers: Iterable[Reader]) -> str:
    """Say which layout has most names in common with a state dictionary, and what differs.

    Names are compared by their last two parts, numbers left out: forks rename the outer modules first.

    Args:
        names: of the tensors.
        readers: to compare with.

    Returns:
        A clause for a message; empty where nothing is near.
    """
    found = {_ending(name): name for name in names}
    scored = []
    for reader in readers:
        known = {_ending(name): name for name in reader.layout}
        common = found.keys() & known.keys()
        if known:
            scored.append((len(common) / max(len(known), len(found)), reader.project, known, common))
    if not scored:
        return ""
    share, project, known, common = max(scored, key=lambda item: item[0])
    if share < _LEAST:
        return ""
    missing = sorted(known[ending] for ending in known.keys() - common)
    unknown = sorted(key_name(found[ending]) for ending in found.keys() - common)
    parts = [f"nearest is {project}, with {len(common)} of its {len(known)} kinds of tensors"]
    if missing:
        parts.append(f"missing: {_some(missing)}")
    if unknown:
        parts.append(f"unknown to it: {_some(unknown)}")
    return "; ".join(parts)


def _ending(name: str) -> str:
    return ".".join(_NUMBER.sub("#", name).replace("/", ".").split(".")[-2:])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
