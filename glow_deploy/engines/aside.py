"""Sending what foreign code prints to stderr: stdout carries a command's answer, such as JSON, and nothing else."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

__all__ = ["Aside"]

_STDOUT, _STDERR = 1, 2  # file descriptors, which native code writes to


class Aside:
    """Turns stdout into stderr while at least one thread is inside `turned`.

    Both Python's stream and the file descriptor are turned. What native code leaves in a buffer of its own comes later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stream: TextIO | None = None
        self._kept: int | None = None

    @contextlib.contextmanager
    def turned(self) -> Iterator[None]:
        """Turn stdout aside until the last thread has left."""
        with self._lock:
            if not self._inside:
                self._turn()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._turn_back()

    def _turn(self) -> None:
        _flush(sys.stdout)
        self._stream, sys.stdout = sys.stdout, sys.stderr
        try:
            self._kept = os.dup(_STDOUT)
        except OSError:  # closed, so nothing can be written there
            return
        with contextlib.suppress(OSError):
            os.dup2(_STDERR, _STDOUT)

    def _turn_back(self) -> None:
        if self._stream is not None:
            _flush(self._stream)  # by whoever kept the stream itself
            sys.stdout = self._stream
        if self._kept is not None:
            os.dup2(self._kept, _STDOUT)
            os.close(self._kept)
        self._stream = self._kept = None


def _flush(stream: TextIO | None) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if stream is not None:
            stream.flush()
