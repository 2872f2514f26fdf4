"""SVG by hand: a drawing with title and description, and axes that know where a value lies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import count

__all__ = ["Axis", "Drawing", "Identifiers", "decade_axis"]


class Identifiers:
    """Gives every chart of one page an id of its own."""

    def __init__(self) -> None:
        self._next: Iterator[int] = count(1)

    def take(self) -> str:
        """Return an id that was not given before."""
        return f"chart-{next(self._next)}"


class Drawing:
    """SVG elements, back to front. Colours and fonts are the style sheet's: elements carry classes only.

    Args:
        width: of the coordinate system; the page scales the drawing to the room there is.
        height: likewise.
        title: short name, read out and shown on hovering.
        description: what the drawing shows, in words, for those who cannot see it.
        ident: unique on the page.
    """

    def __init__(self, width: float, height: float, *, title: str, description: str, ident: str) -> None:
        self.width = width
        self.height = height
        self._head = (
            f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-labelledby="{ident}-title {ident}-desc">'
            f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(description)}</desc>'
        )
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, *, style: str) -> None:
        """Draw a straight line."""
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def rect(self, x: float, y: float, width: float, height: float, *, style: str, hint: str = "") -> None:
        """Draw a rectangle; `hint` shows on hovering."""
        body = f"<title>{escape(hint)}</title>" if hint else ""
        size = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
        self._parts.append(f'<rect {size} class="{style}">{body}</rect>')

    def path(self, points: list[tuple[float, float]], *, style: str, close: bool = False) -> None:
        """Join points by straight lines."""
        if points:
            joined = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self._parts.append(f'<path d="M{joined}{"Z" if close else ""}" class="{style}"/>')

    def mark(self, x: float, y: float, *, shape: str, style: str, hint: str = "") -> None:
        """Draw a marker (`circle`, `diamond`, `dash` or `cross`) around a point; `hint` shows on hovering."""
        body = f"<title>{escape(hint)}</title>" if hint else ""
        if shape == "circle":
            self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{style}">{body}</circle>')
            return
        outline = {
            "diamond": f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5Z",
            "dash": f"M{x - 5:.1f} {y:.1f}h10",
            "cross": f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10",
        }[shape]
        self._parts.append(f'<path d="{outline}" class="{style}">{body}</path>')

    def text(self, x: float, y: float, text: str, *, style: str = "", anchor: str = "start") -> None:
        """Write a word or two; `anchor` is `start`, `middle` or `end`."""
        name = f' class="{style}"' if style else ""
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>')

    def text_upright(self, x: float, y: float, text: str) -> None:
        """Write along the left edge, from bottom to top, centred on the point."""
        turn = f"rotate(-90 {x:.1f} {y:.1f})"
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" transform="{turn}">{escape(text)}</text>'
        )

    def __str__(self) -> str:
        return f"{self._head}{''.join(self._parts)}</svg>"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A logarithmic scale over whole decades.

    Attributes:
        low: exponent of its lower end.
        high: exponent of its upper end, above `low`.
        start: coordinate of the lower end.
        end: coordinate of the upper end.
    """

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the coordinate of a value > 0, kept within the axis."""
        exponent = min(max(math.log10(value), self.low), self.high) if value > 0 else float(self.low)
        return self.start + (self.end - self.start) * (exponent - self.low) / (self.high - self.low)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Coordinates and labels of at most `most` powers of ten."""
        stride = max(1, math.ceil((self.high - self.low + 1) / most))
        found = [(self.at(10.0**e), "1" if e == 0 else f"1e{e}") for e in range(self.low, self.high + 1)]
        # Counted from the exponent 0, so that 1 is among them where it is on the axis.
        return [tick for e, tick in zip(range(self.low, self.high + 1), found, strict=True) if e % stride == 0]


def decade_axis(values: list[float], *, start: float, end: float) -> Axis:
    """Make the axis of whole decades that holds all values > 0 among those given."""
    exponents = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    low = math.floor(min(exponents, default=-1.0))
    high = math.ceil(max(exponents, default=0.0))
    return Axis(low=low, high=max(high, low + 1), start=start, end=end)
