"""Values that the files of a run and its shards share: whole numbers and digests, checked, and text of any name."""

from __future__ import annotations

import re

__all__ = ["digest", "plain_text", "whole"]

_SHA256 = re.compile("[0-9a-f]{64}")


def whole(value: object, where: str, *, least: int = 0) -> int:
    """Take a whole number from `least` to 2^63-1 out of JSON: bytes and rows go beyond what `json_values` counts.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise ValueError(f"{where} is no whole number of at least {least}")
    return value


def digest(value: object, where: str) -> str:
    """Take a sha256 out of JSON, as 64 hexadecimal digits.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{where}: a sha256 is missing")
    return value


def plain_text(name: str) -> str:
    r"""Return a name that any table can hold: what is no UTF-8 is written as escapes.

    >>> plain_text("p\udcff.png")
    'p\\udcff.png'
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
