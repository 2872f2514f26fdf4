"""What reaches a terminal: nothing that it would obey, unless this tool itself wrote it."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult

__all__ = ["encode_anything", "obeys_nothing", "plain_letters"]


def plain_letters(text: str) -> str:
    r"""Replace what a terminal would obey by question marks; line ends and tabs stay.

    >>> plain_letters("a\x1b[2Jb\tc\n")
    'a?[2Jb\tc\n'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in "\n\t" or _harmless(letter) else "?" for letter in text)


def obeys_nothing(console: Console) -> Console:
    """Make a console write text from files as plain letters; its own colours and cursor movements are left to it."""
    from rich.console import RenderHook
    from rich.segment import Segment

    class Plain:
        def __init__(self, renderable: ConsoleRenderable) -> None:
            self._renderable = renderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for segment in console.render(self._renderable, options):
                yield segment if segment.control else Segment(plain_letters(segment.text), segment.style)

    class Hook(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Plain(renderable) for renderable in renderables]

    console.push_render_hook(Hook())
    return console


def encode_anything() -> None:
    """Let the streams write letters that their encoding does not have, as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _harmless(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of other widths
