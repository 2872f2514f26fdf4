"""Figures as a reader wants them: short, and saying so where there is none."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["ABSENT", "bound", "count", "identity", "number", "of_limit", "percent", "plain", "value_of"]

ABSENT = "none"
_SPACE = "\u00a0"  # the figure and its unit stay on one line


def value_of(value: Any) -> float:
    """Take a figure of the JSON report; NaN for null and for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value)


def number(value: Any, *, digits: int = 2) -> str:
    """Write a figure with `digits` significant digits; `ABSENT` for null, which stands for what is not finite."""
    figure = value_of(value)
    if not math.isfinite(figure):
        return ABSENT
    if figure == 0.0:
        return "0"
    if 1e-3 <= abs(figure) < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(abs(figure))))
        return f"{figure:,.{places}f}"
    mantissa, exponent = f"{figure:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def plain(value: Any) -> str:
    """Write a setting, such as a temperature, as it was given."""
    figure = value_of(value)
    return f"{figure:g}" if math.isfinite(figure) else ABSENT


def count(value: Any) -> str:
    """Write a whole number with commas."""
    figure = value_of(value)
    return f"{figure:,.0f}" if math.isfinite(figure) else ABSENT


def percent(value: Any) -> str:
    """Write a share; never as 100 % or 0 % where it is not exactly that."""
    share = value_of(value)
    if not math.isfinite(share):
        return ABSENT
    if share in (0.0, 1.0):
        text = f"{100 * share:.0f}"
    elif 0.0 < share < 1e-4:
        text = f"<{_SPACE}0.01"
    elif 0.999 < share < 1.0:
        text = f"{math.floor(1e6 * share) / 1e4:.4f}"
    else:
        text = f"{100 * share:.2g}" if share < 0.0995 else f"{100 * share:.1f}"
    return f"{text}{_SPACE}%"


def bound(rate: Any) -> str:
    """Write the 95 % upper bound of a failure rate."""
    text = percent(rate)
    return text if text.startswith("<") else f"<{_SPACE}{text}"


def of_limit(ratio: float) -> str:
    """Write an error as a part or a multiple of its limit."""
    if not math.isfinite(ratio):
        return "beyond any limit"
    if ratio > 1.0:
        return f"{number(ratio, digits=2 if ratio < 100 else 3)} x its limit"
    return f"{percent(ratio)} of its limit"


def identity(digest: Any, *, length: int = 12) -> str:
    """Shorten a sha256 for reading."""
    return str(digest)[:length] if digest else ABSENT
