"""Values of a JSON file that nobody vouches for, taken with a check of their kind."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["count", "entry", "flag", "json_number", "number_or_null", "numbers_or_null", "sequence", "table", "text"]

_MOST = 10**9  # of anything that is counted
_LARGEST = sys.float_info.max  # an integer of the file may be beyond it, and NaN is not within it
_SHOWN = 40  # characters of a wrong value in a message


def table(values: object, where: str) -> Mapping[str, Any]:
    """Return an object of the file.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is missing or not an object")
    return values


def entry(values: Mapping[str, Any], name: str, *, where: str) -> Any:
    """Return what an object holds under a name.

    Raises:
        ValueError: it holds nothing there.
    """
    if name not in values:
        raise ValueError(f"{where}.{name} is missing")
    return values[name]


def count(values: Mapping[str, Any], name: str, *, where: str, least: int = 0) -> int:
    """Return a whole number from `least` to 10^9.

    Raises:
        ValueError: it is something else.
    """
    value = entry(values, name, where=where)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        raise _wrong(f"{where}.{name}", value, f"a whole number from {least} to {_MOST}")
    return value


def flag(values: Mapping[str, Any], name: str, *, where: str) -> bool:
    """Return true or false.

    Raises:
        ValueError: it is something else.
    """
    value = entry(values, name, where=where)
    if not isinstance(value, bool):
        raise _wrong(f"{where}.{name}", value, "true or false")
    return value


def text(values: Mapping[str, Any], name: str, *, where: str) -> str:
    """Return a string.

    Raises:
        ValueError: it is something else.
    """
    value = entry(values, name, where=where)
    if not isinstance(value, str):
        raise _wrong(f"{where}.{name}", value, "a string")
    return value


def sequence(values: object, where: str) -> Sequence[Any]:
    """Return a list of the file.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{where} is missing or not a list")
    return values


def number_or_null(values: Mapping[str, Any], name: str, *, where: str, null: float = math.nan) -> float:
    """Return a finite number, or `null` where the file says null.

    Raises:
        ValueError: it is something else.
    """
    value = entry(values, name, where=where)
    if value is None:
        return null
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        raise _wrong(f"{where}.{name}", value, "a number")
    return value


def numbers_or_null(values: object, names: Sequence[str], *, where: str) -> dict[str, float]:
    """Return numbers of at least zero, NaN where the file says null.

    Raises:
        ValueError: one is missing, negative or no number.
    """
    found = table(values, where)
    numbers = {name: number_or_null(found, name, where=where) for name in names}
    for name, value in numbers.items():
        if value < 0:
            raise _wrong(f"{where}.{name}", value, "a number of at least zero")
    return numbers


def json_number(value: float) -> float | None:
    """Null for what JSON has no number for."""
    return value if math.isfinite(value) else None


def _wrong(where: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{where} is {str(value)[:_SHOWN]!r}; it must be {wanted}")
