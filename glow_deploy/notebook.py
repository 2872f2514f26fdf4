"""Tables as a notebook shows them: plain HTML without a style or a script of its own, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice

__all__ = ["html_table"]


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, most: int = 20) -> str:
    """Return an HTML table.

    Args:
        head: a title for each column; none for a table without titles.
        rows: cells, shown as `str` makes them; floats with six digits.
        most: rows that are shown; a line below says that there are more.

    Examples:
        >>> html_table(["name"], [["<b>"]])
        '<table><thead><tr><th>name</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    rows = iter(rows)
    body = "".join(_row(row) for row in islice(rows, most))
    more = sum(1 for _ in rows)
    top = f"<thead><tr>{''.join(f'<th>{escape(title)}</th>' for title in head)}</tr></thead>" if head else ""
    return f"<table>{top}<tbody>{body}</tbody></table>" + (f"<p>... and {more} more</p>" if more else "")


def _row(cells: Sequence[object]) -> str:
    words = (f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"<tr>{''.join(f'<td>{escape(word)}</td>' for word in words)}</tr>"
