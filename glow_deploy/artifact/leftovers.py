"""The hidden folders beside a bundle: what an export makes on the way, and what one that was killed left there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from glow_core.temporaries import is_temporary, left_by_the_dead

from .flavors import PLANS
from .manifest import DECODER, ENCODER, GOLDEN, MANIFEST, PICTURE_GRAPHS
from .signed import SIGNATURE

__all__ = ["REPLACED", "UNFINISHED", "can_replace", "recover", "remove_leftovers", "retire"]

UNFINISHED = ".unfinished"
"""Ends the name of a folder that is to become a bundle, or that was one until another took its name."""

REPLACED = ".replaced"
"""Ends the name of a bundle that was moved out of the way, where two folders cannot change names in one step."""

_OWN = {MANIFEST, ENCODER, DECODER, GOLDEN, SIGNATURE, *PICTURE_GRAPHS, *PLANS, *(f"{plan}.json" for plan in PLANS)}


def can_replace(folder: Path) -> bool:
    """Tell whether a folder can be renamed: its own folder can be written, and it is no mount point.

    Args:
        folder: an absolute path without links.
    """
    return os.access(folder.parent, os.W_OK) and folder != Path.cwd() and not _is_mount(folder)


def recover(path: Path) -> None:
    """Put an earlier bundle back that a killed export moved out of the way."""
    if path.is_dir():
        return
    for left in _left_by_the_dead(path, path.parent, REPLACED):
        if (left / MANIFEST).is_file():
            with suppress(OSError):
                left.replace(path)
            return


def remove_leftovers(path: Path, place: Path) -> None:
    """Remove what killed exports of `path` left in `place`; files of the user among it go back to the bundle."""
    for suffix in (UNFINISHED, REPLACED):
        for left in _left_by_the_dead(path, place, suffix):
            retire(left, path)


def retire(old: Path, path: Path) -> list[str]:
    """Remove a folder that was a bundle; what an export does not write is moved to the bundle at `path`.

    Nothing else is ever removed: what cannot be moved stays where it is, and the folder with it.

    Returns:
        What stayed, each with the reason; empty where the folder is gone.
    """
    if old.suffix == REPLACED and not path.is_dir():
        return ["all of it: nothing has taken its place"]  # `recover` puts it back
    try:
        entries = sorted(old.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"all of it: {error.strerror or error}"]
    stayed = []
    for entry in entries:
        try:
            if _is_ours(entry):
                entry.unlink()
            elif not path.is_dir():
                stayed.append(f"{entry.name}: there is no bundle to move it to")
            elif os.path.lexists(path / entry.name):
                stayed.append(f"{entry.name}: the bundle holds one already")
            else:
                entry.replace(path / entry.name)
        except OSError as error:
            stayed.append(f"{entry.name}: {error.strerror or error}")
    with suppress(OSError):
        old.rmdir()
    return stayed


def _is_ours(entry: Path) -> bool:
    """Whether an export or a compilation wrote a file, or began to."""
    if entry.is_dir() and not entry.is_symlink():
        return False
    return entry.name in _OWN or (is_temporary(entry) and any(entry.name.startswith(f".{name}.") for name in _OWN))


def _is_mount(folder: Path) -> bool:
    if folder.is_mount():
        return True
    with suppress(OSError):  # a folder of the same disk mounted here shows nowhere else; spaces are written in octal
        name = re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", str(folder))
        return any(line.split(" ", 5)[4] == name for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return False


def _left_by_the_dead(path: Path, place: Path, suffix: str) -> Iterator[Path]:
    for left in left_by_the_dead(path, place=place, suffix=suffix):
        if left.is_dir() and not left.is_symlink():
            yield left
