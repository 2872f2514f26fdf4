"""One encoded picture of a source, and what every source looks like from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["LARGEST_PICTURE", "Rows", "SourceRow"]

LARGEST_PICTURE = 256 << 20
"""Bytes of one encoded picture; a larger one is not read."""


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One row.

    Attributes:
        name: where it is: the source, and its place in it.
        data: the encoded picture; None where there is none to read.
        fault: why there is none, in words that name it.
    """

    name: str
    data: bytes | None
    fault: str = ""


class Rows(Protocol):
    """The pictures of one source, in an order that is always the same."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def read(self, first: int, last: int) -> Iterator[SourceRow]:
        """Read rows first .. last-1.

        Raises:
            DataError: the source itself is damaged.
        """
        ...
