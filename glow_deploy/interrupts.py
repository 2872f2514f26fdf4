"""Signals that come while native code runs that calls Python back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Deferred", "interrupts_deferred"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_ONE_PRESS = 0.5  # seconds in which signals count as one


class Deferred:
    """Whether a signal is waiting."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._when = 0.0

    def __bool__(self) -> bool:
        return bool(self.received)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal for later; one that comes again after a while ends the process, as if nobody caught it."""
        now = time.monotonic()
        if self.received and now - self._when > _ONE_PRESS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not self.received:
            self._when = now
        self.received.append(number)


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
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):  # one that ends the process or is ignored never runs inside Python
                before[number] = handler
                signal.signal(number, deferred.note)
        yield deferred
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if deferred:
            signal.raise_signal(deferred.received[0])
