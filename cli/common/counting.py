"""Numbers of things in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return `1 picture` or `2 pictures`.

    Args:
        number: of things; thousands are parted by commas.
        noun: one of them, with a regular plural.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
