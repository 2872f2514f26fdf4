"""What the parser of the command line refuses, told like every other error: one line that says what to do.

The words of the parser differ between its releases; what is not known here is passed on without its full stop.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["is_usage_error", "usage_message"]

# In order; the first that matches counts. Each is of the parser's newest release or of an older one.
_REASONS = (
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a finite number.*", "must be a finite number"),
    (r"Input should be greater than or equal to (.+)", r"must be at least \1"),
    (r"Input should be less than or equal to (.+)", r"must be at most \1"),
    (r"Input should be greater than (.+)", r"must be more than \1"),
    (r"Input should be less than (.+)", r"must be less than \1"),
    (r"'(.*)' is not a valid (?:integer|int)", r"'\1' is not a whole number"),
    (r"'(.*)' is not a valid (?:float|float range)", r"'\1' is not a number"),
)
_CHOICE = re.compile(r"(?:Value error, )?'(?P<given>.*)' is not one of (?P<known>'.*')")
_MESSAGES = (
    (r"Missing argument '(.+)'", r"give \1"),
    (r"Missing (?:option|parameter) (.+)", r"give \1"),
    (r"Option '(.+)' requires an argument", r"\1 needs a value"),
    (r"Option '(.+)' does not take a value", r"\1 takes no value"),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)", r"\1: nothing more is expected here"),
    (r"No such option:? '?([^' ]+)'?(?: \(Possible options: (.+)\))", r"there is no option \1; near it are \2"),
    (r"No such option:? '?([^' ]+)'?(.*)", r"there is no option \1\2"),
    (r"No such command '(.+?)'. Did you mean (.+?)\??", r"there is no command \1; near it are \2"),
    (r"No such command '(.+?)'(.*)", r"there is no command \1\2"),
)


def is_usage_error(error: BaseException) -> bool:
    """Tell an error of the parser, whichever release of it is installed, from all others."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def usage_message(error: Any, *, program: str) -> str:
    """Put what the parser says into our words.

    Args:
        error: for which `is_usage_error` holds.
        program: the name of the whole program.

    Returns:
        One line: what is wrong, and where the help is.
    """
    text = " ".join(str(error.format_message()).split()).removesuffix(".")
    option, found, reason = text.partition(": ")
    if found and option.startswith("Invalid value for "):
        names = option.removeprefix("Invalid value for ").replace("'", "")
        text = f"{names}: {_reason(reason)}"
    else:
        text = _first(text, _MESSAGES)
    place = getattr(getattr(error, "ctx", None), "command_path", None) or program
    unquoted = text.startswith("give ") or "; near it are " in text
    return f"{text.replace(chr(39), '') if unquoted else text}; see `{place} --help`"


def _reason(text: str) -> str:
    choice = _CHOICE.fullmatch(text)
    if choice is not None:
        return f"'{choice['given']}' is none of {choice['known'].replace(chr(39), '')}"
    return _first(text, _REASONS)


def _first(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, words in rules:
        found = re.fullmatch(pattern, text)
        if found is not None:
            return found.expand(words).strip()
    return text
