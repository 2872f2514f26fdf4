"""The pictures of a task: decoded in runs of consecutive rows, those that cannot be read left out or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.data import LeftOut
from glow_deploy.errors import DataError
from glow_deploy.images import read_picture

from .plan import Task
from .rows import Rows, SourceRow

__all__ = ["Pictures", "read_pictures"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Consecutive pictures: uint8 [n, C, H, W] 8-bit values, the name of each, and the number of the first."""

    values: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    number: int

    def __len__(self) -> int:
        return len(self.names)

    def row(self, row: int) -> Pictures:
        """One of them alone."""
        part = slice(row, row + 1)
        return Pictures(values=self.values[part], names=self.names[part], number=self.number + row)


def read_pictures(
    rows: Rows, task: Task, *, shape: tuple[int, ...], batch: int, resize: bool, skipped: list[LeftOut] | None
) -> Iterator[Pictures]:
    """Read the pictures of a task.

    A run ends at a row that is left out, so that every picture keeps its number, and after `batch` rows of the source
    whatever was left out of them: what is run together depends on the data alone.

    Args:
        rows: of the task's source.
        task: which rows.
        shape: (C, H, W) that the model takes.
        batch: rows at once.
        resize: fit pictures of another size or mode.
        skipped: takes what cannot be read; None raises instead.

    Raises:
        DataError: a picture cannot be read and may not be left out, or the source itself is damaged.
    """
    values: list[npt.NDArray[np.uint8]] = []
    names: list[str] = []

    def run(end: int) -> Iterator[Pictures]:
        if values:
            yield Pictures(values=np.stack(values), names=tuple(names), number=task.number + end - len(values))
            values.clear()
            names.clear()

    place = 0
    for row in rows.read(task.first, task.last):
        try:
            values.append(_decoded(row, shape, resize=resize))
            names.append(row.name)
        except DataError as error:
            if skipped is None:
                raise DataError(f"{error}; pass skip_unreadable=True to leave such pictures out") from error
            skipped.append(LeftOut(name=row.name, reason=str(error)))
            yield from run(place)
        place += 1
        if place % batch == 0:
            yield from run(place)
    if place != task.last - task.first:
        raise DataError(f"rows {task.first + place:,} to {task.last - 1:,} are gone from an input; it was changed")
    yield from run(place)


def _decoded(row: SourceRow, shape: tuple[int, ...], *, resize: bool) -> npt.NDArray[np.uint8]:
    if row.data is None:
        raise DataError(row.fault)
    return read_picture(row.data, size=(shape[1], shape[2]), channels=shape[0], resize=resize, name=row.name)
