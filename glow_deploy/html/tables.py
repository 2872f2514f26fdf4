"""Entries of tables."""

from __future__ import annotations

from typing import Any

from .blocks import Cell

__all__ = ["mark", "muted", "name", "right", "text"]


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


def mark(verdict: Any) -> Cell:
    """A verdict; everything that is not `pass` is a failure."""
    passed = verdict == "pass"
    return Cell(text="pass" if passed else "fail", kind="pass" if passed else "fail")
