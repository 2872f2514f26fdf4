"""`glow-deploy --help`, drawn as Typer draws the help of each command.

Typer's own drawing code loads a Markdown parser and a syntax highlighter first, which takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.panel import Panel

__all__ = ["option_rows", "show_overview"]


def show_overview(
    *, usage: str, words: str, options: Sequence[tuple[str, str]], panels: dict[str, list[tuple[str, str]]], epilog: str
) -> None:
    """Print the help of the whole tool on stdout.

    Args:
        usage: the usage line, without the word.
        words: what the tool is for, rich markup, paragraphs separated by an empty line.
        options: spelling and help of each option.
        panels: name and summary of each command, by heading.
        epilog: the last paragraph.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.print()
    console.print(Padding(Text.assemble(("Usage: ", "yellow"), (usage, "bold")), (0, 1)))
    console.print()
    for paragraph in words.split("\n\n"):
        console.print(Padding(" ".join(paragraph.split()), (0, 1, 1, 1)))
    console.print(_panel("Options", options))
    for title, rows in panels.items():
        console.print(_panel(title, rows))
    console.print()
    console.print(Padding(Text(epilog), (0, 1, 1, 1)))


def _panel(title: str, rows: Iterable[tuple[str, str]]) -> Panel:
    from rich import box
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 1), pad_edge=False)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()
    for name, summary in rows:
        table.add_row(Text(name), Text(summary))
    return Panel(table, title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def option_rows(parameters: Iterable[Any]) -> list[tuple[str, str]]:
    """Spelling and help of each option."""
    return [(", ".join(parameter.opts), getattr(parameter, "help", None) or "") for parameter in parameters]
