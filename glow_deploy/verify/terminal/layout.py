"""How the tables of a verification look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["figure", "new_table", "styled"]


def new_table(title: str, *columns: str) -> Table:
    """Return an empty table. Columns of figures and of backends are never broken."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,  # two columns more for figures
    )
    for column in columns:
        right = column in ("rms", "p99.9", "max", "worst", "limit", "T")
        fixed = column in ("A", "B", "backend") or right
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=fixed)
    return table


def styled(text: str, style: str) -> Text:
    """Return text as it stands: brackets in it are no markup."""
    from rich.text import Text

    return Text(text, style=style)


def figure(value: float) -> str:
    """Spell an error with two digits."""
    return f"{value:.1e}" if math.isfinite(value) else "none"
