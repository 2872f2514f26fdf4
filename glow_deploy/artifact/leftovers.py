"""The hidden folders beside a bundle: what an export makes on the way, and what one that was killed left there."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .flavors import PLANS
from .manifest import DECODER, ENCODER, GOLDEN, MANIFEST
from .signed import SIGNATURE
from .switch import host_name, is_running, writer_of

__all__ = ["REPLACED", "UNFINISHED", "can_replace", "recover", "remove_leftovers", "retire"]

UNFINISHED = ".unfinished"
"""Ends the name of a folder that is to become a bundle, or that was one until another took its name."""

REPLACED = ".replaced"
"""Ends the name of a bundle that was moved out of the way, where two folders cannot change names in one step."""

_OWN = {MANIFEST, ENCODER, DECODER, GOLDEN, SIGNATURE, *PLANS, *(f"{plan}.json" for plan in PLANS)}


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


def retire(old: Path, path: Path) -> None:
    """Remove a folder that was a bundle; what an export does not write is moved to the bundle at `path`."""
    if path.is_dir():
        for entry in sorted(old.iterdir()):
            if entry.name not in _OWN and entry.suffix not in (UNFINISHED, ".tmp") and not (path / entry.name).exists():
                entry.replace(path / entry.name)
    shutil.rmtree(old, ignore_errors=True)


def _is_mount(folder: Path) -> bool:
    if folder.is_mount():
        return True
    with suppress(OSError):  # a folder of the same disk mounted here shows nowhere else; spaces are written in octal
        name = re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", str(folder))
        return any(line.split(" ", 5)[4] == name for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return False


def _left_by_the_dead(path: Path, place: Path, suffix: str) -> Iterator[Path]:
    for left in sorted(place.glob(f".{glob.escape(path.name)}.{host_name()}.*{suffix}")):
        if left.is_dir() and not left.is_symlink() and not is_running(writer_of(left)):
            yield left
