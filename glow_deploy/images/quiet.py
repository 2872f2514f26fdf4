"""Keeps what Pillow says about a damaged file off stderr, and makes an error of a picture that is too large."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["pillow_quiet"]


class _Shared:
    """Filters of warnings that several threads want at once: the first sets them, the last puts the old ones back.

    `warnings.catch_warnings` alone would put back, in one thread, what another one has set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stack = ExitStack()

    def enter(self) -> None:
        from PIL import Image

        with self._lock:
            if not self._inside:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                logger, handler = logging.getLogger("PIL"), logging.NullHandler()
                logger.addHandler(handler)
                self._stack.callback(logger.removeHandler, handler)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._stack.close()


_SHARED = _Shared()  # as the filters are: one for the process


@contextmanager
def pillow_quiet() -> Iterator[None]:
    """Read a picture in the block; any number of threads may."""
    _SHARED.enter()
    try:
        yield
    finally:
        _SHARED.leave()
