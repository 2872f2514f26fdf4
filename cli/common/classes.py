"""`--class`, as every command that takes it reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.protocol import Engine

__all__ = ["BEST", "labels_for", "parse_classes"]

BEST = "best"
"""Whichever class makes an image likeliest."""


def parse_classes(text: str | None, *, words: tuple[str, ...] = ()) -> tuple[int, ...] | None:
    """Parse `--class 3` or `--class 0,1,2`.

    Args:
        text: as typed, or None.
        words: what may be given instead of numbers, for the message.

    Raises:
        UsageError: not whole numbers.
    """
    from glow_deploy.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    # Nine digits are more than enough, and far longer ones Python itself or int64 refuses.
    if not all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts):
        or_word = "".join(f", or {word}" for word in words)
        raise UsageError(f"--class is {text[:32]!r}; give whole numbers, such as 3 or 0,1,2{or_word}")
    return tuple(int(part) for part in parts)


def labels_for(
    engine: Engine, classes: tuple[int, ...] | None, count: int, *, what: str
) -> npt.NDArray[np.int64] | None:
    """Return the label of every picture or row, checked against the model before anything is run.

    Raises:
        UsageError: the number of classes, or one of them, does not fit.
    """
    from glow_deploy.errors import UsageError
    from glow_deploy.latents import check_labels

    if classes is not None and engine.num_classes is not None and len(classes) not in (1, count):
        raise UsageError(f"--class names {len(classes)} classes for {count} {what}; give one, or one for each")
    return check_labels(engine, classes * count if classes is not None and len(classes) == 1 else classes, count)
