"""Draw docs/architecture.svg from docs/architecture.toml: the rooms of each package on their floors.

python scripts/draw_architecture.py
"""

from __future__ import annotations

import textwrap
from html import escape
from pathlib import Path

import tomllib

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, MARGIN, GAP, BOX, TITLE = 1100, 16, 8, 46, 40  # pixels
LETTER = 6.0  # width of one letter of a caption

STYLE = """
text { font-family: system-ui, sans-serif; fill: #1f2937; text-anchor: middle }
.title { font-size: 17px; font-weight: 600; text-anchor: start }
.name { font-size: 14px; font-weight: 600 }
.says { font-size: 12px; fill: #4b5563 }
.room { fill: #e8eef7; stroke: #6b83a6 }
.sheet { fill: #ffffff }
"""


def main() -> None:
    """Write the picture."""
    (DOCS / "architecture.svg").write_text(draw(tomllib.loads((DOCS / "architecture.toml").read_text())["house"]))


def draw(houses: list[dict]) -> str:
    """Return the SVG of all packages, one below the other."""
    parts: list[str] = []
    top = MARGIN
    for house in houses:
        parts.append(f'<text class="title" x="{MARGIN}" y="{top + 26}">{escape(house["title"])}</text>')
        top += TITLE
        for floor in house["floors"]:
            parts += rooms(floor, top)
            top += BOX + GAP
        top += MARGIN
    size = f'width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    label = "<title>The packages: every room imports only from floors below it</title>"
    sheet = f'<rect class="sheet" width="{WIDTH}" height="{top}"/>'
    return "\n".join([head, label, f"<style>{STYLE}</style>", sheet, *parts, "</svg>"]) + "\n"


def rooms(floor: dict[str, str], top: int) -> list[str]:
    """Return the boxes of one floor, of equal width."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)) / len(floor)
    parts = []
    for index, (name, says) in enumerate(floor.items()):
        left = MARGIN + index * (width + GAP)
        middle = left + width / 2
        lines = textwrap.wrap(says, max(10, int((width - 12) / LETTER)))[:2]
        parts.append(f'<rect class="room" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BOX}" rx="6"/>')
        first = top + {0: 28, 1: 20, 2: 14}[len(lines)]
        parts.append(f'<text class="name" x="{middle:.1f}" y="{first}">{escape(name)}</text>')
        for row, line in enumerate(lines, start=1):
            parts.append(f'<text class="says" x="{middle:.1f}" y="{first + 15 * row}">{escape(line)}</text>')
    return parts


if __name__ == "__main__":
    main()
