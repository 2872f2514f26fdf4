"""How an option is spelt: `force=True` in Python, `--force` on a command line; messages are written in Python's way."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["on_command_line"]

# Only what stands as a word of its own: a file called seed=0/face.png is left as it is.
_OPTION = re.compile(
    r"""(?<![^\s(`])(?P<name>[a-z][a-z0-9_]*)=(?P<value>True|False|None|"[^"\s]*"|\d+|)(?=[\s,;:)`]|\.(?:\s|$)|$)"""
)

# The argument that a message of `glow_deploy.arguments` begins with.
_ARGUMENT = re.compile(r"^(?P<each>each of )?(?P<name>[a-z][a-z0-9_]*)(?= must be | is .*; choose from )")


def on_command_line(message: str, options: Mapping[str, str]) -> str:
    """Spell the options in a message as on a command line.

    `force=True` becomes `--force`, `force=False` `--no-force`, `precision="auto"` `--precision auto`, `golden=None`
    `--golden none` and `out=` `--out`. So does the name that a message begins with: `batch must be ...`.

    Args:
        message: of an error, written for Python.
        options: name of the parameter -> how the command spells it, `{"classes": "--class"}`. Others stay as they are.
    """

    def spell(match: re.Match[str]) -> str:
        option = options.get(match["name"])
        if option is None:
            return match[0]
        value = match["value"].strip('"')
        if value == "True":
            return option
        if value == "False":
            return f"--no-{option.removeprefix('--')}"
        return f"{option} {value.lower() if value == 'None' else value}".rstrip()

    def name(match: re.Match[str]) -> str:
        option = options.get(match["name"])
        return match[0] if option is None else f"{match['each'] or ''}{option}"

    return _OPTION.sub(spell, _ARGUMENT.sub(name, message))
