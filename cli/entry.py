"""The console script: signals are handled from here on, before anything that takes time is imported."""

from __future__ import annotations

from .common.signals import ended_by_signals

__all__ = ["run"]


def run() -> None:
    """Run the command line."""
    with ended_by_signals(for_good=True):
        from .main import run

        run()
