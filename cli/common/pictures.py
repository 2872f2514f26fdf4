"""Pictures that a command is given, and the names of those it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glow_deploy.data import ImageSet
    from glow_deploy.progress import CountProgress

__all__ = ["file_names", "find_pictures", "open_pictures"]

_LONGEST_NAME = 200  # bytes; leaves room for a number and the suffix


def find_pictures(paths: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the files among `paths`, folders replaced by the pictures in them, sorted by name; and what was left out.

    Raises:
        DataError: a folder holds no pictures, or links lead round in circles.
    """
    from glow_deploy.errors import DataError
    from glow_deploy.images import PICTURE_SUFFIXES, find_in_folder

    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = find_in_folder(path)
        more = [] if found.note is None else [found.note]
        if not found.paths:
            raise DataError("; ".join([f"{path} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})", *more]))
        files.extend(found.paths)
        notes += more
    return files, tuple(notes)


def open_pictures(
    files: Sequence[Path],
    shape: Sequence[int],
    *,
    resize: bool,
    skip_unreadable: bool,
    progress: CountProgress | None = None,
) -> ImageSet:
    """Read the headers of picture files, and return what decodes them.

    Args:
        files: at least one.
        shape: (C, H, W) that the model takes.
        resize: fit pictures of another size or mode.
        skip_unreadable: leave out those whose header is damaged.
        progress: told how many headers have been read.

    Raises:
        DataError: a picture cannot be read or does not fit.
    """
    from glow_deploy.data.fit import Fit
    from glow_deploy.data.folder import picture_images

    fit = Fit(size=(shape[1], shape[2]), channels=shape[0], resize=resize, skip_unreadable=skip_unreadable)
    what = "1 picture" if len(files) == 1 else f"{len(files):,} pictures"
    return picture_images(files, fit=fit, description=what, progress=progress)


def file_names(names: tuple[str, ...]) -> list[str]:
    """Make one safe PNG name for each row: the last part of its name, numbered where two are alike.

    A latent file may come from anywhere, so nothing in it may name a place outside the folder. Names end after 200
    bytes of UTF-8, because file systems allow 255.
    """
    stems = []
    for name in names:
        stem = name.replace("\\", "/").rpartition("/")[2]
        stem = stem.removesuffix(Path(stem).suffix)
        kept = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in stem)
        short = kept.encode("utf-8", "ignore")[:_LONGEST_NAME].decode("utf-8", "ignore")
        stems.append(short.strip(". ") or "picture")
    used: set[str] = set()
    following: dict[str, int] = {}  # the first number that may be free, so that many equal names do not take for ever
    result = []
    for stem in stems:
        name, number = stem, following.get(stem.casefold(), 2)
        while name.casefold() in used:
            name, number = f"{stem}-{number}", number + 1
        following[stem.casefold()] = number
        used.add(name.casefold())
        result.append(f"{name}.png")
    return result
