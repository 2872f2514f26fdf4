"""The console script: signals are handled from here on, before anything that takes time is imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["run"]


def run() -> None:
    """Run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # whoever started us may have switched it off
            signal.signal(number, _end)
    from .common.signals import ended_by_signals

    with ended_by_signals(for_good=True):
        from .main import run

        run()


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is there yet that would have to be cleared up."""
    words = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    os.write(2, f"error: {words}\n".encode())
    os._exit(128 + number)
