"""Pictures that are decoded when they are asked for: all headers are looked at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import Header, highest_value, read_header, read_picture
from glow_deploy.progress import CountProgress

from .arrays import depth_note
from .fit import Fit
from .image_set import ImageSet, Indices, LeftOut, Values
from .reading import Reading
from .shape import choose_shape

__all__ = ["Load", "Pictures", "picture_set"]

_PLAINLY_DEEP = 1 << 14  # a value of 15 bits or more

Load = Callable[[int], str | bytes]
"""Gives what `read_picture` takes for a picture's number: the name of a file, or its bytes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Encoded pictures of any source.

    Attributes:
        description: where they come from, in words.
        names: of each, within the source.
        load: gives each.
        root: what comes before a name to say where it is.
        labels: class of each, int64 [N], or None.
        class_names: of class 0, 1, ...
        notes: what there is to say about them.
    """

    description: str
    names: Sequence[str]
    load: Load
    root: str = ""
    labels: npt.NDArray[np.int64] | None = None
    class_names: Sequence[str] = ()
    notes: tuple[str, ...] = ()

    def name(self, row: int) -> str:
        """Return where a picture is to be found."""
        return f"{self.root}{self.names[row]}"


def picture_set(
    pictures: Pictures, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> ImageSet:
    """Look at the headers of all pictures and wrap those that can be read.

    Without a size or channels in `fit` the most frequent ones are taken, and that is noted.

    Args:
        pictures: at least one.
        fit: what the model takes.
        reading: of how many bits 16-bit files are.
        progress: told how many headers have been read.

    Raises:
        DataError: pictures have damaged headers (unless they may be left out), or another size (unless they may be
            resized). What is damaged behind its header is reported when it is read.
    """
    headers, rows, bad = _headers(pictures, progress)
    total = len(pictures.names)
    if bad and (not fit.skip_unreadable or not headers):
        raise DataError(_unreadable(pictures, bad, total))
    names = [pictures.name(row) for row in rows]
    shape, notes = choose_shape(headers, names, fit=fit, description=pictures.description)
    reading = reading or Reading()
    reader = PictureReader(pictures=pictures, shape=shape, resize=fit.resize, depth=reading.depth)
    deep = [row for row, header in zip(rows, headers, strict=True) if header.deep]
    if deep:
        notes = (*notes, *depth_note(_highest(pictures, deep, reading.depth), pictures.description, reading))
    whole = ImageSet(
        description=pictures.description,
        shape=shape,
        count=total,
        read=reader,
        labels=pictures.labels,
        class_names=tuple(pictures.class_names),
        names=pictures.names,
        root=pictures.root,
        notes=(*pictures.notes, *notes),
        left_out=tuple(bad),
    )
    return whole.select(rows) if bad else whole


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureReader:
    """Decodes pictures by number."""

    pictures: Pictures
    shape: tuple[int, int, int]
    resize: bool
    depth: int | None = None

    def __call__(self, indices: Indices) -> Values:
        """Return uint8 [n,C,H,W]."""
        found = np.empty((len(indices), *self.shape), np.uint8)
        for place, row in enumerate(indices.tolist()):
            found[place] = read_picture(
                self.pictures.load(row),
                size=self.shape[1:],
                channels=self.shape[0],
                resize=self.resize,
                name=self.pictures.name(row),
                depth=self.depth,
            )
        return found


def _highest(pictures: Pictures, rows: Sequence[int], depth: int | None) -> int:
    """The largest 16-bit value, or one that says that all bits are used; unreadable pictures have none."""
    highest = 0
    for row in rows:
        with suppress(DataError):
            highest = max(highest, highest_value(pictures.load(row), name=pictures.name(row)))
        if depth is not None and highest >= 1 << depth:
            raise DataError(
                f"{pictures.name(row)}: a value is {highest:,}, which {depth} bits cannot hold; pass another depth="
            )
        if depth is None and highest >= _PLAINLY_DEEP:
            break
    return highest


def _headers(pictures: Pictures, progress: CountProgress | None) -> tuple[list[Header], list[int], list[LeftOut]]:
    """The headers that can be read, the numbers of their pictures, and the others."""
    headers, rows, bad = [], [], []
    total = len(pictures.names)
    for row in range(total):
        name = pictures.name(row)
        try:
            headers.append(read_header(pictures.load(row), name=name))
            rows.append(row)
        except DataError as error:
            bad.append(LeftOut(name=name, reason=str(error)))
        if progress is not None and (row % 64 == 63 or row + 1 == total):
            progress(row + 1, total)
    return headers, rows, bad


def _unreadable(pictures: Pictures, bad: Sequence[LeftOut], total: int) -> str:
    if len(bad) == total:
        if total == 1:
            return bad[0].reason
        return f"{pictures.description}: none of {total:,} pictures can be read; the first: {bad[0].reason}"
    if len(bad) == 1:
        return f"{bad[0].reason}; pass skip_unreadable=True to leave it out"
    return (
        f"{pictures.description}: {len(bad):,} of {total:,} pictures cannot be read; the first: {bad[0].reason}; pass "
        "skip_unreadable=True to leave them out"
    )
