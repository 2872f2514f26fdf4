"""Entries of tables."""

from __future__ import annotations

import math
from typing import Any

from .blocks import Cell
from .formats import count, value_of

__all__ = ["lost", "lost_figure", "mark", "muted", "name", "right", "text"]


def text(value: Any) -> Cell:
    """Words."""
    return Cell(text=str(value) if value is not None else "none")


def name(value: Any) -> Cell:
    """A row's own name."""
    return Cell(text=str(value), kind="name")


def right(value: str) -> Cell:
    """A figure, set to the right in figures of equal width."""
    return Cell(text=value, kind="number")


def muted(value: Any) -> Cell:
    """What most readers skip."""
    return Cell(text=str(value), kind="muted")


def lost(non_finite: Any, n: Any = None, *, said: bool = False) -> Cell:
    """How many (of n) are not finite, saying so in words where no heading does; no count is a loss."""
    figure = value_of(non_finite)
    of = (f" of {count(n)}" if n is not None else "") + (" not finite" if said else "")
    if figure == 0.0:
        return Cell(text=f"0{of}", kind="number")
    return Cell(text=f"{count(figure)}{of}" if math.isfinite(figure) else "not counted", kind="lost")


def lost_figure(value: str) -> Cell:
    """A figure that is a failure."""
    return Cell(text=value, kind="lost")


def mark(verdict: Any) -> Cell:
    """A verdict; everything that is neither `pass` nor `reported` nor `not judged` is a failure."""
    if verdict in ("reported", "not judged"):
        return Cell(text=str(verdict), kind="muted")
    passed = verdict == "pass"
    return Cell(text="pass" if passed else "fail", kind="pass" if passed else "fail")
