"""Options given as keyword arguments, or as one settings object: either way, never both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import TypeVar

from .arguments import as_instance
from .errors import UsageError

__all__ = ["settings_of"]

_Settings = TypeVar("_Settings")


def settings_of(
    given: _Settings | None,
    options: Mapping[str, object],
    make: type[_Settings],
    *,
    caller: str,
    others: Sequence[str] = (),
) -> _Settings:
    """Return the settings to use.

    Args:
        given: a settings object, or None.
        options: keyword arguments of the settings' class.
        make: that class, a dataclass.
        caller: the function that was called, for messages.
        others: its keyword arguments that are no options, which a name may be meant for.

    Raises:
        UsageError: both were given, an option does not exist, or a value is of the wrong kind or out of range.
    """
    if given is not None:
        if options:
            raise UsageError(f"give either settings= or {', '.join(f'{name}=' for name in options)}, not both")
        return as_instance("settings", given, make)
    known = [field.name for field in fields(make)]  # type: ignore[arg-type]  # settings are dataclasses
    for name in options:
        if name not in known:
            close = get_close_matches(name, [*known, *others], n=3)
            hint = f"did you mean {' or '.join(f'{match}=' for match in close)}?" if close else _all(known)
            raise UsageError(f"{caller}() takes no {name}=; {hint}")
    return make(**options)


def _all(known: Sequence[str]) -> str:
    return f"its options are {', '.join(f'{name}=' for name in known)}"
