"""Pictures that could not be read: counted, named, and listed in a file beside the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glow_deploy.data import LeftOut

__all__ = ["left_out_file", "left_out_lines", "write_left_out"]

_MOST_LISTED = 16
_NAME = "skipped.txt"


def left_out_file(out: Path, *, folder: bool = False) -> Path:
    """Return where the list goes: scores.csv -> scores.skipped.txt, a folder -> folder/skipped.txt."""
    return out / _NAME if folder else out.with_name(f"{out.stem}.{_NAME}")


def left_out_lines(left_out: Sequence[LeftOut], file: Path | None = None) -> Iterator[str]:
    """Say how many were left out, name the first, and where all of them are listed.

    Args:
        left_out: pictures.
        file: the list.
    """
    if not left_out:
        return
    where = "" if file is None else f", listed in {file}"
    yield f"left out, because they cannot be read: {len(left_out):,}{where}"
    yield from (f"  {left.reason}" for left in left_out[:_MOST_LISTED])
    if len(left_out) > _MOST_LISTED:
        yield f"  ... and {len(left_out) - _MOST_LISTED:,} more"


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """Write one line a picture: its name, a tab, and why. Without pictures an earlier list is removed."""
    from glow_deploy.artifact.files import atomic_write

    if not left_out:
        path.unlink(missing_ok=True)
        return
    lines = [f"{_one_line(left.name)}\t{_one_line(left.reason)}\n" for left in left_out]
    atomic_write(path, "".join(lines).encode("utf-8", "surrogateescape"))


def _one_line(text: str) -> str:
    return " ".join(text.split())
