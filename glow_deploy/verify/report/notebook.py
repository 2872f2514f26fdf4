"""A report as a notebook shows it: the verdicts, what failed, and the matrix. No script, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from glow_deploy.notebook import html_table

from .rows import CellReport

__all__ = ["notebook_html"]


def notebook_html(
    *, sound: bool, verdicts: Mapping[str, str], failures: Sequence[str], cells: Sequence[CellReport], n_bits: int
) -> str:
    """Return a few lines of HTML without a style or a script of their own.

    Args:
        sound: the overall verdict.
        verdicts: all of them, by name.
        failures: one line each.
        cells: the matrix.
        n_bits: of the model.
    """
    parts = [
        f"<p><b>{'sound' if sound else 'UNSOUND'}</b>: "
        + ", ".join(f"{name.replace('_', ' ')} {escape(value)}" for name, value in verdicts.items())
        + "</p>"
    ]
    if failures:
        items = "".join(f"<li>{escape(failure)}</li>" for failure in failures[:10])
        more = len(failures) - 10
        parts.append(f"<ul>{items}</ul>" + (f"<p>... and {more} more</p>" if more > 0 else ""))
    steps = 2**n_bits
    head = ("images", "encode on", "decode on", "rms, pixel steps", "max, pixel steps", "exact", "verdict")
    rows = [
        (
            row.images,
            row.encode,
            row.decode,
            f"{row.x_error.rms * steps:.1e}",
            f"{row.x_error.max * steps:.1e}",
            f"{row.exactness.images_exact} of {row.exactness.images}",
            row.verdict,
        )
        for row in cells
    ]
    parts.append(html_table(head, rows, most=len(rows)))
    return "\n".join(parts)
