"""Pictures that a command is given, and the names of those it writes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["file_names", "find_pictures"]

_LONGEST_NAME = 200  # bytes; leaves room for a number and the suffix


def find_pictures(paths: list[Path]) -> list[Path]:
    """Return the files among `paths`, folders replaced by the pictures in them, sorted by name.

    Raises:
        DataError: a path does not exist, or a folder holds no pictures.
    """
    from glow_deploy.errors import DataError
    from glow_deploy.images import PICTURE_SUFFIXES

    files = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        # What a system hides beside pictures (._face.png, .thumbnails/) is none of the user's.
        seen = (item for item in path.rglob("*") if not any(p.startswith(".") for p in item.relative_to(path).parts))
        found = sorted(item for item in seen if item.suffix.lower() in PICTURE_SUFFIXES and item.is_file())
        if not found:
            raise DataError(f"{path} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        files.extend(found)
    return files


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
