"""Reading values of unknown origin out of parsed JSON, each checked as it is taken."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Fields"]

_MOST_TEXT = 1 << 16  # characters
_MOST_ITEMS = 10_000
_LARGEST_COUNT = 2**53  # beyond it a number read from JSON need not be the one that was written


class Fields:
    """A JSON object that knows its place in the file.

    Every method raises a ValueError that names the place and what should be there.

    Args:
        value: what was parsed.
        where: its place, e.g. `cells[3].exact`; empty for the whole file.
    """

    def __init__(self, value: object, where: str = "") -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where or 'the file'} is no JSON object")
        self._value: Mapping[str, Any] = value
        self._where = where

    def place(self, name: str) -> str:
        """Name an entry for messages."""
        return f"{self._where}.{name}" if self._where else name

    def text(self, name: str) -> str:
        """A string as one line without control characters: it may get as far as somebody's terminal."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            raise ValueError(f"{self.place(name)} is no text of at most {_MOST_TEXT:,} characters")
        return "".join(letter if letter.isprintable() else "?" for letter in " ".join(value.split()))

    def count(self, name: str, *, least: int = 0, most: int = _LARGEST_COUNT) -> int:
        """A whole number from `least` to `most`."""
        value = self._get(name)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{self.place(name)} is no whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise ValueError(f"{self.place(name)} is neither true nor false")
        return value

    def figure(self, name: str) -> float | None:
        """A finite number >= 0; None for null, which stands for a figure that was not finite."""
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{self.place(name)} is no number")
        # An integer can be too large for a float, and 1e999 is read as infinity.
        if not 0 <= value <= sys.float_info.max:
            raise ValueError(f"{self.place(name)} is no finite number >= 0")
        return float(value)

    def counts(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self._list(name)
        if not all(type(value) is int and 0 <= value <= _LARGEST_COUNT for value in values):
            raise ValueError(f"{self.place(name)} is no list of whole numbers")
        return tuple(values)

    def child(self, name: str) -> Fields:
        """An object within this one."""
        return Fields(self._get(name), self.place(name))

    def children(self, name: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(value, f"{self.place(name)}[{index}]") for index, value in enumerate(self._list(name))]

    def names(self) -> tuple[str, ...]:
        """The names of all entries, which must be printable."""
        if len(self._value) > _MOST_ITEMS:
            raise ValueError(f"{self._where or 'the file'} has too many entries")
        for name in self._value:
            if not isinstance(name, str) or len(name) > _MOST_TEXT or not name.isprintable():
                raise ValueError(f"{self._where or 'the file'} has an entry without a printable name")
        return tuple(self._value)

    def _list(self, name: str) -> list[Any]:
        value = self._get(name)
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            raise ValueError(f"{self.place(name)} is no list of at most {_MOST_ITEMS:,} entries")
        return value

    def _get(self, name: str) -> object:
        if name not in self._value:
            raise ValueError(f"{self.place(name)} is missing")
        return self._value[name]
