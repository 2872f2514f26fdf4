"""Arguments and options, checked one by one: the error names the argument and says what it may be.

A scalar of NumPy (or of torch), or an array without dimensions, is as good as the Python number it holds. True and
False are no numbers, and no number is one of them: what looks like a slip is refused, never rounded or guessed at.
"""

from __future__ import annotations

import errno
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from .errors import UsageError
from .printable import shown

__all__ = [
    "as_choice",
    "as_flag",
    "as_instance",
    "as_path",
    "as_real",
    "as_seed",
    "as_several",
    "as_text",
    "as_whole",
    "is_several",
    "quoted",
    "settle",
]

_T = TypeVar("_T")


def quoted(value: object) -> str:
    """A value as a message shows it: as Python writes it, on one line and not too long."""
    return shown(" ".join(repr(value).split()))


def as_whole(name: str, value: object, *, least: int | None = None, most: int | None = None) -> int:
    """Take a whole number.

    Args:
        name: of the argument, for the message.
        value: given for it.
        least: it may be.
        most: it may be.

    Raises:
        UsageError: not a whole number, or out of range. 2.0 is not one, and neither is True.

    Examples:
        >>> import numpy as np
        >>> as_whole("n", np.int64(3), least=1)
        3
        >>> as_whole("n", 0, least=1)
        Traceback (most recent call last):
        glow_deploy.errors.UsageError: n must be a whole number of at least 1, not 0
    """
    wanted = f"a whole number{_limits(least=least, most=most)}"
    number = _scalar(value)
    if isinstance(number, bool):
        raise _wrong(name, wanted, value)
    try:
        whole = operator.index(number)  # type: ignore[arg-type]  # what is no index raises
    except TypeError:
        raise _wrong(name, wanted, value) from None
    if (least is not None and whole < least) or (most is not None and whole > most):
        raise _wrong(name, wanted, value)
    return whole


def as_real(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> float:
    """Take a finite number: see `as_whole`. `above` is a limit that itself is refused."""
    wanted = f"a number{_limits(least=least, above=above, most=most)}"
    number = _scalar(value)
    if isinstance(number, bool) or not (isinstance(number, (int, float)) or _float_like(number)):
        raise _wrong(name, wanted, value)
    try:
        real = float(number)  # type: ignore[arg-type]  # it is a number
    except (OverflowError, TypeError, ValueError):
        raise _wrong(name, wanted, value) from None
    inside = (least is None or real >= least) and (above is None or real > above) and (most is None or real <= most)
    if not (math.isfinite(real) and inside):
        raise _wrong(name, wanted, value)
    return real


def as_seed(name: str, value: object) -> int:
    """Take a seed, 0 to 2^64-1."""
    try:
        return as_whole(name, value, least=0, most=2**64 - 1)
    except UsageError:
        raise _wrong(name, "a whole number from 0 to 2^64-1", value) from None


def as_flag(name: str, value: object) -> bool:
    """Take True or False, and nothing that is only as good as one of them."""
    flag = _scalar(value)
    if not isinstance(flag, bool):
        raise _wrong(name, "True or False", value)
    return flag


def as_text(name: str, value: object, *, such_as: str | None = None) -> str:
    """Take a string that is not empty; `such_as` is an example for the message."""
    if not isinstance(value, str) or not value:
        raise _wrong(name, "a string" if such_as is None else f"a string such as {such_as!r}", value)
    return str(value)


def as_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Take one of a few strings.

    Examples:
        >>> as_choice("mode", "sperical", ("linear", "spherical"))
        Traceback (most recent call last):
        glow_deploy.errors.UsageError: mode is 'sperical'; choose from linear, spherical; did you mean spherical?
    """
    if isinstance(value, str) and value in choices:
        return str(value)
    close = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {close[0]}?" if close and len(choices) > 1 else ""
    raise UsageError(f"{name} is {quoted(value)}; choose from {', '.join(choices)}{hint}")


def as_path(name: str, value: object) -> Path:
    """Take the path of a file or a folder, as a string or an `os.PathLike`."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise _wrong(name, "a path (a string or a pathlib.Path)", value)
    try:
        Path(text).stat()
    except OSError as error:  # whether it has to be there is for the caller to say
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{name} is a longer name than there can be: {quoted(text)}") from None
    return Path(text)


def as_instance(name: str, value: object, kind: type[_T]) -> _T:
    """Take an object of a class."""
    if not isinstance(value, kind):
        raise _wrong(name, f"of class {kind.__name__}", value)
    return value


def as_several(name: str, value: object, check: Callable[..., _T], **limits: Any) -> tuple[_T, ...]:
    """Take a list of values, or one alone, which stands for a list of one.

    Args:
        name: of the argument.
        value: a list, a tuple, a one-dimensional array, ..., or one value. A string is one value.
        check: one of the functions above, for each of them.
        **limits: for `check`.

    Examples:
        >>> as_several("batches", [1, 16], as_whole, least=1), as_several("batches", 4, as_whole)
        ((1, 16), (4,))
    """
    if not is_several(value):
        return (check(name, value, **limits),)
    return tuple(check(f"each of {name}", item, **limits) for item in value)


def is_several(value: object) -> TypeGuard[Iterable[object]]:
    """Tell a list, a tuple or an array with dimensions from one value, as which strings and mappings count."""
    one = isinstance(value, (str, bytes, Mapping)) or getattr(value, "shape", None) == ()
    return not one and isinstance(value, Iterable)


def settle(
    settings: object, check: Callable[..., object], /, *names: str, optional: bool = False, **limits: Any
) -> None:
    """Check fields of a frozen dataclass and put in what they came to: for its `__post_init__`.

    Args:
        settings: the object.
        check: one of the functions above.
        *names: fields.
        optional: None stays None.
        **limits: for `check`.
    """
    for name in names:
        value = getattr(settings, name)
        if not (optional and value is None):
            object.__setattr__(settings, name, check(name, value, **limits))


def _scalar(value: object) -> object:
    """The Python number in a scalar or an array without dimensions of NumPy or torch; anything else as it is."""
    if getattr(value, "shape", None) == () and callable(item := getattr(value, "item", None)):
        found: object = item()
        return found
    return value


def _float_like(value: object) -> bool:
    # Fractions, Decimals and long doubles; a string has no `__float__`, an array that has one has dimensions.
    return hasattr(value, "__float__") and not getattr(value, "shape", ())


def _limits(*, least: float | None = None, above: float | None = None, most: float | None = None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}" if max(abs(least), abs(most)) < 10**6 else f" from {least} to {most}"
    words = [f"of at least {least:g}"] if least is not None else []
    words += [f"above {above:g}"] if above is not None else []
    words += [f"{'at' if words else 'of at'} most {most:g}"] if most is not None else []
    return f" {' and '.join(words)}" if words else ""


def _wrong(name: str, wanted: str, value: object) -> UsageError:
    return UsageError(f"{name} must be {wanted}, not {quoted(value)}")
