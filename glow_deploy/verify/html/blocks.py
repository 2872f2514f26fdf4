"""What a page is made of. Plain values only: the template turns them into HTML and escapes every text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = [
    "Block",
    "Card",
    "Cell",
    "Charts",
    "Column",
    "FailureBlock",
    "HeatCell",
    "HeatMap",
    "Key",
    "Legend",
    "Picture",
    "PictureBlock",
    "Plot",
    "Reproduce",
    "Section",
    "Strip",
    "Table",
]

CellKind = Literal["text", "number", "name", "pass", "fail", "lost", "muted", "code"]


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """How to get a figure again.

    Attributes:
        command: the exact command line.
        key: where the figures then are, e.g. `cells[].x_z_x` of the JSON report; empty where the command shows them.
    """

    command: str
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One verdict: its question, its answer (`sound`, `unsound`, `reported`) and the sentence that carries it."""

    title: str
    verdict: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry of a table."""

    text: str
    kind: CellKind = "text"


@dataclass(frozen=True, kw_only=True)
class Column:
    """Heading of a table's column; figures stand to the right."""

    label: str
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in a box that scrolls by itself; a long one is folded away until asked for."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    folded: bool = False
    reproduce: Reproduce | None = None


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of a legend: a small SVG drawing of our own, and what it stands for."""

    svg: str
    text: str


Legend = tuple[Key, ...]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One SVG chart of our own drawing (its texts are escaped already) under a short heading."""

    svg: str
    heading: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Charts of one kind side by side."""

    kind: ClassVar[str] = "charts"
    title: str
    plots: tuple[Plot, ...]
    legend: Legend = ()
    caption: str = ""
    reproduce: Reproduce | None = None


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """One pair of backends.

    Attributes:
        verdict: `pass`, `fail`, or empty where the pair was not measured.
        figure: the error, in words.
        ratio: the error against its limit, in words.
        exact: images that came back exactly.
        shade: 0 (far below the limit) to 5 (at the limit), 6 for a failure.
    """

    verdict: str = ""
    figure: str = ""
    ratio: str = ""
    exact: str = ""
    shade: int = 0


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """The backend matrix of one image set: rows encode, columns decode."""

    kind: ClassVar[str] = "heat"
    title: str
    names: tuple[str, ...]
    rows: tuple[tuple[HeatCell, ...], ...]
    caption: str = ""
    reproduce: Reproduce | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture as a `data:` URI, its size on the page in pixels, and what it shows."""

    uri: str
    width: int
    height: int
    label: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures that belong side by side."""

    heading: str
    note: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class PictureBlock:
    """Strips below one another."""

    kind: ClassVar[str] = "pictures"
    title: str
    strips: tuple[Strip, ...]
    caption: str = ""
    reproduce: Reproduce | None = None


@dataclass(frozen=True, kw_only=True)
class FailureBlock:
    """Failures with one cause.

    Attributes:
        title: the first of them, in words.
        verdict: the verdict it spoils, in words.
        cause: the probable cause.
        advice: what to do.
        others: where else the same was found.
        reproduce: a narrower run that shows it.
    """

    kind: ClassVar[str] = "failure"
    title: str
    verdict: str
    cause: str
    advice: tuple[str, ...]
    others: tuple[str, ...] = ()
    reproduce: Reproduce | None = None


Block = Table | Charts | HeatMap | PictureBlock | FailureBlock


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        id: anchor, unique on the page.
        title: heading.
        lead: one or two sentences.
        notes: remarks, each a line of its own.
        blocks: the figures.
    """

    id: str
    title: str
    lead: str = ""
    notes: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
