"""The signals that ask a process to end, and what counts as asking once. No torch here.

before = {}
try:
catch(handler, only=callable, before=before)
...
finally:
put_back(before)
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["SIGNALS", "Handler", "Presses", "catch", "held_back", "put_back"]

Handler = Callable[[int, FrameType | None], Any]

# SIGHUP comes when the terminal is closed. Windows has no such signal.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that ask a process to end."""

# Seconds. A key held down, or a Ctrl-C that reaches us both from the terminal and from the program that started us.
_ONE_PRESS = 0.5


class Presses:
    """Which signal came first, and whether another is a second wish.

    Attributes:
        first: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self._when = 0.0

    def again(self, number: int) -> bool:
        """Take a signal in.

        Returns:
            True where one came before, so long ago that this is a press of its own.
        """
        now = time.monotonic()
        if self.first is None:
            self.first, self._when = signal.Signals(number), now
            return False
        return now - self._when > _ONE_PRESS


def catch(handler: Handler, *, only: Callable[[Any], bool], before: dict[signal.Signals, Any]) -> None:
    """Let a handler take the signals, from the main thread.

    Args:
        handler: called with each.
        only: asked about the handler that is there; a signal whose handler it turns down is left alone.
        before: gets the handlers that were there, for `put_back`; it holds them whatever happens on the way.
    """
    with held_back():
        for number in SIGNALS:
            found = signal.getsignal(number)
            if only(found):
                before[number] = found
                signal.signal(number, handler)


def put_back(before: Mapping[signal.Signals, Any]) -> None:
    """Put handlers back, all of them, whatever signals come meanwhile.

    Raises:
        BaseException: what the handler of a signal that came raises, when all are back.
    """
    left, raised = dict(before), None
    with held_back():
        while left:  # another thread may take a signal that is held back in this one
            try:
                for number in tuple(left):
                    signal.signal(number, left[number])
                    del left[number]
            except BaseException as error:
                raised = error
    if raised is not None:
        raise raised


@contextmanager
def held_back() -> Iterator[None]:
    """Let the system hold the signals back while the block runs, where it can."""
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:  # Windows
        yield
        return
    earlier = mask(signal.SIG_BLOCK, ())
    try:
        mask(signal.SIG_BLOCK, SIGNALS)  # runs the handlers of those that have come, which may raise
        yield
    finally:
        mask(signal.SIG_SETMASK, earlier)
