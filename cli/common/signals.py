"""Ctrl-C and SIGTERM, for every command: unwind, so that nothing stays behind, say one line, exit with 128 + number.

The first signal raises `KeyboardInterrupt` or `Terminated` in the main thread, or as soon as no module is being
imported there. Libraries may swallow that, or turn it into an error of their own; what counts is that it was received.
A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any

from glow_core.presses import Presses, catch, put_back

__all__ = ["Terminated", "ended_by_signals", "received_signal", "tell_signal"]


_SOON = 0.02  # seconds after which a signal that came during an import is handled again


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP. What is done for Ctrl-C is done for them."""


class _Ending:
    """Takes the signals in."""

    def __init__(self) -> None:
        self._presses = Presses()
        self._waits = False
        self.told = False

    @property
    def received(self) -> signal.Signals | None:
        """The first signal, or None."""
        return self._presses.first

    def take(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        first = self.received is None
        if self._waits:
            self._waits = False  # our own reminder, or as good as one
            first = True
        elif self._presses.again(number):
            os._exit(128 + number)
        if not first:
            return
        if _is_importing(frame):
            self._remind(number)
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def _remind(self, number: int) -> None:
        """Let the signal come again shortly; which thread sends it makes no difference to Python."""

        def send() -> None:
            self._waits = True
            signal.raise_signal(number)

        timer = threading.Timer(_SOON, send)
        timer.daemon = True
        timer.start()


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the main thread is in the middle of an import.

    A compiled module may call Python code as it starts. What is raised there may be lost, or end in an abort.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


_ENDING: ContextVar[_Ending | None] = ContextVar("ending", default=None)


def received_signal() -> signal.Signals | None:
    """The signal that asked the command to end, or None."""
    ending = _ENDING.get()
    return None if ending is None else ending.received


def tell_signal(number: signal.Signals) -> str:
    """The words for the user; whoever asks for them prints them."""
    ending = _ENDING.get()
    if ending is not None:
        ending.told = True
    return "interrupted" if number == signal.SIGINT else f"ended by {number.name}"


@contextmanager
def ended_by_signals(*, for_good: bool = False) -> Iterator[None]:
    """Handle the signals while the block runs; the process ends with it where one came.

    Blocks may be nested; the outermost counts. A signal that whoever started us has switched off stays off.

    Args:
        for_good: nothing but the process's own end comes after the block, and a signal ends that at once.
    """
    if _ENDING.get() is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _Ending()
    _ENDING.set(ending)
    before: dict[signal.Signals, Any] = {}
    try:
        catch(ending.take, only=lambda found: found not in (signal.SIG_IGN, None), before=before)
        yield
    finally:
        try:
            _end_if_asked(ending)
            put_back(dict.fromkeys(before, _end_now) if for_good else before)
        finally:
            _end_if_asked(ending)  # by one that came at the last moment
            _ENDING.set(None)


def _end_if_asked(ending: _Ending) -> None:
    if ending.received is None:
        return
    if not ending.told:
        with suppress(Exception):
            print(f"error: {tell_signal(ending.received)}", file=sys.stderr)
    _leave(128 + ending.received)


def _end_now(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _leave(code: int) -> None:
    """End the process without Python's own way out.

    That waits for threads, and tears libraries down while threads of theirs may still be at work, which can crash.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
