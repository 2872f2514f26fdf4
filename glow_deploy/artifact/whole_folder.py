"""Writing a folder of many files whole: whoever looks finds the old one or the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from glow_core.temporaries import left_by_the_dead, temporary_name
from glow_deploy.errors import UsageError

from .files import sync_folder
from .switch import exchange

__all__ = ["check_folder_target", "write_folder"]

_UNFINISHED = ".unfinished"


def check_folder_target(place: Path, *, ours: set[str], force: bool) -> None:
    """Refuse a place for a folder before any work is done.

    Args:
        place: of the folder; its parent must exist.
        ours: names of files in it that may be replaced, with `/` in them.
        force: replace them.

    Raises:
        UsageError: it is a file, its parent is not there, or it holds something that may not be replaced.
    """
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is a file where a folder is to be written; give another out=")
    if not place.resolve().parent.is_dir():
        raise UsageError(f"{place.parent}: no such folder to put {place.name} in; create it or give another out=")
    if not place.is_dir() or not any(place.iterdir()):
        return
    if not force:
        raise UsageError(f"{place} exists already; give force=True to replace it, or another out=")
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if (not path.is_dir() or path.is_symlink()) and name not in ours:
            raise UsageError(
                f"{place} holds {name}, which this tool did not write, or not like that; move it, or give a new folder"
            )


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder beside its place, and let it change places with what is there, which is removed.

    Args:
        place: of the folder, see `check_folder_target`.
        files: contents by their names, with `/` in them.

    Raises:
        UsageError: it cannot be written; then what was there still is.
    """
    place = place.resolve()
    for left in left_by_the_dead(place, suffix=_UNFINISHED):
        shutil.rmtree(left, ignore_errors=True)
    made = place.with_name(temporary_name(place.name, suffix=_UNFINISHED))
    try:
        for name, data in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        if not place.is_dir():
            made.replace(place)
        elif not exchange(made, place):
            # Only where a system cannot exchange two folders: for an instant there is none.
            old = place.with_name(temporary_name(place.name, suffix=_UNFINISHED))
            place.replace(old)
            try:
                made.replace(place)
            except BaseException:
                with suppress(OSError):
                    old.replace(place)
                raise
            shutil.rmtree(old, ignore_errors=True)
        sync_folder(place.parent)
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror or error}; choose another place with out=") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
