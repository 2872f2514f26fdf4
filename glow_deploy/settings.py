"""Options given as keyword arguments, or as one settings object: either way, never both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from .errors import UsageError

__all__ = ["settings_of"]

_Settings = TypeVar("_Settings")


def settings_of(given: _Settings | None, options: Mapping[str, object], make: Callable[..., _Settings]) -> _Settings:
    """Return the settings to use.

    Args:
        given: a settings object, or None.
        options: keyword arguments of the settings' class.
        make: that class.

    Raises:
        UsageError: both were given, an option does not exist, or a value is out of range.
    """
    if given is not None:
        if options:
            raise UsageError(f"give either settings= or {', '.join(f'{name}=' for name in options)}, not both")
        return given
    try:
        return make(**options)
    except TypeError as error:
        raise UsageError(f"there is no such option: {error}") from None
