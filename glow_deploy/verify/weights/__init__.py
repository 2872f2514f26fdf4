"""The weights that the graphs hold, and whether the graphs are those that this tool builds. Nothing is run for it."""

from __future__ import annotations

from .check import check_weights

__all__ = ["check_weights"]
