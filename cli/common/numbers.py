"""Numbers with names and lists of numbers, as options give them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["parse_amounts", "parse_attributes", "parse_temperatures"]

_HOTTEST = 100


def parse_attributes(texts: Sequence[str]) -> dict[str, float]:
    """Parse `--attribute smiling=1.5 --attribute hat` to amounts by name; without an amount it is 1.

    Raises:
        UsageError: no number, or a name twice.
    """
    from glow_deploy.errors import UsageError

    found: dict[str, float] = {}
    for text in texts:
        name, equals, amount = text.rpartition("=")
        if not equals:
            name, amount = text, "1"
        name = name.strip()
        if name in found:
            raise UsageError(f"--attribute {name[:40]} is given twice; add the amounts up")
        found[name] = _number(amount, f"--attribute {name[:40]}")
    return found


def parse_amounts(text: str | None) -> tuple[float, ...]:
    """Parse `--amounts -1,0,1`; None is the whole edit alone.

    Raises:
        UsageError: not numbers.
    """
    return (1.0,) if text is None else tuple(_number(part, "--amounts") for part in text.split(","))


def parse_temperatures(text: str, option: str) -> tuple[float, ...]:
    """Parse `0.7` or `0.5,0.7,1`.

    Raises:
        UsageError: something else than finite numbers from 0 to 100.
    """
    from glow_deploy.errors import UsageError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 <= value <= _HOTTEST for value in values):
        raise UsageError(f"{option} is {text[:32]!r}; give numbers from 0 to {_HOTTEST}, such as 0.7 or 0.5,0.7,1")
    return values


def _number(text: str, option: str) -> float:
    from glow_deploy.errors import UsageError

    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option}: {text.strip()[:32]!r} is no number; give one such as 1.5 or -1")
    return value
