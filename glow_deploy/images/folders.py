"""The pictures in a folder and all below it, and what lies there besides."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glow_deploy.errors import DataError

from .files import PICTURE_SUFFIXES

__all__ = ["FolderPictures", "find_in_folder", "kinds_note"]

_KINDS_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class FolderPictures:
    """What `find_in_folder` found.

    Attributes:
        folder: the folder.
        paths: the pictures, in the order of their names.
        left_out: how many other files there are of each kind, by suffix or in words.
    """

    folder: Path
    paths: tuple[Path, ...]
    left_out: Mapping[str, int]

    @property
    def note(self) -> str | None:
        """What was left out, in one line; None where nothing was."""
        return kinds_note(str(self.folder), self.left_out)


def kinds_note(source: str, left_out: Mapping[str, int]) -> str | None:
    """Say in one line how many files of which kinds were left out; None where none were."""
    if not left_out:
        return None
    kinds = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds[:_KINDS_SHOWN])
    if len(kinds) > _KINDS_SHOWN:
        shown += f", {sum(count for _, count in kinds[_KINDS_SHOWN:]):,} of other kinds"
    total = sum(left_out.values())
    return f"{source}: {total:,} other {'file was' if total == 1 else 'files were'} left out: {shown}"


def find_in_folder(folder: Path) -> FolderPictures:
    """Find the pictures of a folder and all below it. Links to files and folders are followed.

    Hidden files and folders are passed over: file managers and notebooks leave thumbnails and copies there.

    Raises:
        DataError: a link leads back to a folder above it, or a folder cannot be listed.
    """
    paths: list[Path] = []
    left_out: Counter[str] = Counter()

    def walk(here: Path, above: Mapping[tuple[int, int], Path]) -> None:
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            raise DataError(f"{here}: the folder cannot be listed ({error.strerror or error})") from error
        for entry in entries:
            if entry.name.startswith("."):
                left_out["hidden"] += 1
                continue
            path = here / entry.name
            try:
                found = entry.stat()
            except OSError:  # it leads nowhere, or round in circles without a folder
                left_out["broken links" if entry.is_symlink() else "unreadable"] += 1
                continue
            if stat.S_ISDIR(found.st_mode):
                key = (found.st_dev, found.st_ino)
                if entry.is_symlink() and key in above:
                    raise DataError(f"{path} is a link that leads back to {above[key]}, above it; remove the link")
                walk(path, {**above, key: path})
            elif not stat.S_ISREG(found.st_mode):
                left_out["pipes, sockets or devices"] += 1
            elif path.suffix.lower() in PICTURE_SUFFIXES:
                paths.append(path)
            else:
                left_out[path.suffix.lower() or "without a suffix"] += 1

    try:
        top = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror or error})") from error
    walk(folder, {(top.st_dev, top.st_ino): folder})
    return FolderPictures(folder=folder, paths=tuple(sorted(paths)), left_out=dict(left_out))
