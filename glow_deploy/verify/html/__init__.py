"""The report of a verification as one HTML file that needs nothing else: no network, no scripts, no libraries."""

from __future__ import annotations

from .render import render_report

__all__ = ["render_report"]
