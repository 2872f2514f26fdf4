"""Which row of a table means which picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

__all__ = ["match_names"]


def match_names(names: Sequence[str], files: Sequence[str], *, table: str, source: str) -> npt.NDArray[np.int64]:
    """Find the row of every picture, by its path, or by its name alone where that is in one folder only.

    Letters with accents are the same letters, whether a name has them composed (NFC) or taken apart (NFD).

    Args:
        names: of the pictures, as paths with `/`. Rows are only ever looked up among them, so that a table cannot
            name a place elsewhere.
        files: that the rows name.
        table: where the rows are from, for messages.
        source: where the pictures are from.

    Returns:
        int64 [len(names)], -1 for pictures without a row.

    Raises:
        DataError: a name that is ambiguous, two rows for a picture, or no row for any.
    """
    by_path = {name: number for number, name in enumerate(names)}
    by_composed: dict[str, int | None] = {}
    by_name: dict[str, int | None] = {}
    for number, name in enumerate(names):
        composed = unicodedata.normalize("NFC", name)
        by_composed[composed] = None if composed in by_composed else number
        last = composed.rpartition("/")[2]
        by_name[last] = None if last in by_name else number
    row_of = np.full(len(names), -1, np.int64)
    for row, file in enumerate(files):
        plain = file.replace("\\", "/").removeprefix("./")
        composed = unicodedata.normalize("NFC", plain)
        found = by_path.get(plain, by_composed.get(composed, by_name.get(composed)))
        if found is None:
            if composed in by_name or composed in by_composed:
                raise DataError(f"{table}: {file!r} is in more than one subfolder of {source}; name them with those")
            continue
        if row_of[found] >= 0:
            raise DataError(f"{table}: {files[row_of[found]]!r} and {file!r} are the same picture of {source}")
        row_of[found] = row
    if not (row_of >= 0).any():
        raise DataError(f"{table} names {files[0]!r} and the like; no such pictures are in {source}")
    return row_of
