"""How long pieces of work tell where they stand: three kinds of callback, and everything that reports takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["CountProgress", "ShareProgress", "StageProgress"]


class StageProgress(Protocol):
    """Told where work of several stages stands."""

    def __call__(self, stage: str, done: int, total: int | None, /) -> None:
        """`done` of `total` units of `stage` are finished; a total of None is one that nobody knows."""


CountProgress = Callable[[int, int], None]
"""Called with (done, total) as work of a single stage goes on."""

ShareProgress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""
