"""Signals that come while native code runs that calls Python back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from glow_core.presses import Presses, catch, put_back

__all__ = ["Deferred", "interrupts_deferred"]


class Deferred:
    """Whether a signal is waiting."""

    def __init__(self) -> None:
        self._presses = Presses()

    def __bool__(self) -> bool:
        return self._presses.first is not None

    @property
    def first(self) -> signal.Signals | None:
        """The signal that is waiting, or None."""
        return self._presses.first

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal for later; one that comes again after a while ends the process, as if nobody caught it."""
        if self._presses.again(number):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def interrupts_deferred() -> Iterator[Deferred]:
    """Hold signals back while the block runs, and handle them at its end.

    A handler runs between any two steps of Python code, in a callback from native code too. What it raises there would
    have to cross the native frames, which lose it or crash. Inside the block nothing is raised; whoever is called back
    asks the `Deferred` whether to go on. Outside the main thread, which gets no signals, nothing changes.

    Raises:
        KeyboardInterrupt: at the end, where a signal came whose own handler raises it.
    """
    deferred = Deferred()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return
    before: dict[signal.Signals, Any] = {}
    try:
        catch(deferred.note, only=callable, before=before)  # any other never runs inside Python
        yield deferred
    finally:
        try:
            put_back(before)
        finally:
            if deferred.first is not None:
                signal.raise_signal(deferred.first)
