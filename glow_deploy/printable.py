"""Text from files, made safe to show: no terminal obeys it, and it has an end."""

from __future__ import annotations

__all__ = ["LONGEST_LINE", "one_line", "shown"]

LONGEST_LINE = 2000
"""Letters of one message."""

_LONGEST_WORD = 60


def shown(text: object, *, longest: int = _LONGEST_WORD) -> str:
    r"""Return a name from a file for a message: what cannot be printed is written as an escape, and the end is cut off.

    Args:
        text: a string, or anything with one.
        longest: letters of it at most.

    >>> shown("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    words = str(text)
    cut = words[: longest + 1]
    safe = cut if cut.isprintable() else "".join(map(_letter, cut))
    return safe if len(words) <= longest else f"{safe[:longest]}..."


def one_line(text: object, *, longest: int = LONGEST_LINE) -> str:
    r"""Return a message as one line that no terminal obeys; white space of any kind becomes one space.

    Args:
        text: of any length.
        longest: letters at most; a longer one loses its middle, for what to do stands at its end.

    >>> one_line("a\nb\x07")
    'a b\\x07'
    """
    words = str(text)
    if len(words) > 4 * longest:
        words = f"{words[: 2 * longest]} ... {words[-2 * longest :]}"
    line = " ".join(words.split())
    safe = line if line.isprintable() else "".join(map(_letter, line))
    if len(safe) <= longest:
        return safe
    return f"{safe[: longest * 3 // 4]} ... {safe[-(longest // 4) :]}"


def _letter(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
