"""What the server remembers for its tabs: a bounded number of images, the one unused for longest forgotten first."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Store"]

T = TypeVar("T")


class Store(Generic[T]):
    """Items by random token, at most so many, and of at most so many bytes. Safe to use from several threads.

    Args:
        items: how many are kept, 1 or more.
        size: bytes that they may have together; the newest is kept even where it alone has more.

    Examples:
        >>> store = Store[str](items=2, size=100)
        >>> first, second = store.put("a", size=1), store.put("b", size=1)
        >>> store.get(first)
        'a'
        >>> third = store.put("c", size=1)  # "b" was unused for longest
        >>> store.get(second) is None, store.get(first), store.get(third)
        (True, 'a', 'c')
    """

    def __init__(self, *, items: int, size: int) -> None:
        self._most_items, self._most_bytes = items, size
        self._kept: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, item: T, *, size: int) -> str:
        """Keep an item of `size` bytes; returns a token that nobody can guess."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[token] = item, size
            self._bytes += size
            while len(self._kept) > self._most_items or (self._bytes > self._most_bytes and len(self._kept) > 1):
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= gone
        return token

    def get(self, token: str) -> T | None:
        """Return the item and count it as just used; None where it was forgotten or never was."""
        with self._lock:
            found = self._kept.get(token)
            if found is None:
                return None
            self._kept.move_to_end(token)
            return found[0]
