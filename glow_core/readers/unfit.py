"""Glows of other projects that are known and cannot be read, because their mathematics is not this package's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["why_unfit"]


@dataclass(frozen=True, kw_only=True)
class _Unfit:
    """A project's layout, told by a tensor's name, and what in it cannot be expressed."""

    project: str
    name: re.Pattern[str]
    why: str


_KNOWN = (
    _Unfit(
        project="chrischute/glow",
        name=re.compile(r"(.*\.)?steps\.[0-9]+\.coup\.nn\.in_conv\.weight$"),
        why="its images go through a logit, its couplings multiply by exp(scale * tanh(s)), and their networks have "
        "batch norms before each convolution; this package's Glow has images as they are, sigmoid(h + 2), and actnorms",
    ),
    _Unfit(
        project="kamenbliznashki/normalizing_flows",
        name=re.compile(r"(.*\.)?flowsteps?\.[0-9]+\.2\.log_scale_factor$"),
        why="its couplings shift after they scale, s * x + t, and this package's before, (x + t) * s: no convolution "
        "gives the quotient t / s that would be needed",
    ),
)


def why_unfit(names: Iterable[str]) -> str | None:
    """Name the project of a layout that is known not to be readable, and say why; None for any other.

    Args:
        names: of the tensors.
    """
    known = tuple(names)
    for unfit in _KNOWN:
        if any(map(unfit.name.match, known)):
            return f"a Glow of {unfit.project}, which cannot be expressed: {unfit.why}"
    return None
