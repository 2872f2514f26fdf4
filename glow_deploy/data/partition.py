"""CelebA's own list of which picture is for training, validation and testing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from glow_deploy.errors import DataError

from .splits import SPLITS, Split

__all__ = ["PARTITION_NAMES", "listed_splits"]

PARTITION_NAMES = ("list_eval_partition.txt", "list_eval_partition.csv")
_MOST_BYTES = 256 << 20


def listed_splits(folder: Path, names: Sequence[str]) -> tuple[dict[Split, list[int]], str] | None:
    """Look for such a list in a folder or the one above it, and divide pictures by it.

    Each line names a picture and says 0 (train), 1 (validation) or 2 (test), between spaces or with a comma.

    Args:
        folder: of the pictures.
        names: of the pictures, as paths below the folder.

    Returns:
        Numbers of the pictures of each split, and what to say about it; None where there is no list of these pictures.

    Raises:
        DataError: the list is damaged.
    """
    path = next(
        (where / name for where in (folder, folder.parent) for name in PARTITION_NAMES if _is_file(where / name)), None
    )
    if path is None:
        return None
    listed = _read(path)
    rows: dict[Split, list[int]] = {}
    missing = 0
    for row, name in enumerate(names):
        plain = unicodedata.normalize("NFC", name)
        number = listed.get(plain, listed.get(plain.rpartition("/")[2]))
        if number is None:
            missing += 1
        else:
            rows.setdefault(SPLITS[number], []).append(row)
    if not rows:
        return None
    note = f"{folder}: divided as {path} says"
    return rows, note + (f"; {missing:,} pictures that it does not name are left out" if missing else "")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path) -> dict[str, int]:
    listed: dict[str, int] = {}
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is {path.stat().st_size:,} bytes long; a list of splits is far shorter")
        with path.open(encoding="utf-8-sig") as stream:
            for line, text in enumerate(stream, 1):
                name, _, number = text.strip().replace(",", " ").rpartition(" ")
                if not name or (line == 1 and not (number.isascii() and number.isdecimal())):
                    if text.strip() and line > 1:
                        raise DataError(f"{path}, line {line}: a picture and 0, 1 or 2 are needed")
                    continue
                if number not in ("0", "1", "2"):
                    raise DataError(f"{path}, line {line}: {number[:16]!r} is no split; 0, 1 or 2 is needed")
                listed[unicodedata.normalize("NFC", name.strip())] = int(number)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())[:200]})") from error
    return listed
