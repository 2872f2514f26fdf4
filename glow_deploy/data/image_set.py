"""A set of images of one size, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.progress import CountProgress

__all__ = ["ImageSet", "LeftOut"]

Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A picture that could not be read and was left out: its name, and why in words that name it."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images by number, with their labels and attributes if there are any.

    Attributes:
        description: where the images come from, in words.
        shape: (C, H, W) of every image.
        count: number of images.
        read: gives the 8-bit values of the images asked for, uint8 [n,C,H,W]. Pictures in folders, archives and of the
            hub are decoded then; arrays are in memory, or mapped into it, as they are stored.
        labels: class of every image, int64 [count], or None.
        class_names: of class 0, 1, ..., if the set names them; other splits of the set may hold some that are not here.
        attributes: bool [count, K], or None.
        attribute_names: the K names.
        undivided: these were asked for as test images, but the set names no splits, so all of it is here.
        names: of every picture within the set, such as its path below the folder; None where images have numbers alone.
        root: what comes before such a name, so that both together say where the picture is.
        numbers: of every image in the source it was read from, int64 [count]; None where they are 0, 1, ...
        notes: what was decided about the images, and what was passed over, one sentence each.
        left_out: pictures that could not be read.
        stand_ins: int64, numbers of the images that are here in place of others: see `arranged`.
    """

    description: str
    shape: tuple[int, int, int]
    count: int
    read: Callable[[Indices], Values]
    labels: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    attribute_names: tuple[str, ...] = ()
    undivided: bool = False
    names: Sequence[str] | None = None
    root: str = ""
    numbers: Indices | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    stand_ins: Indices = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"{self.description}: there are no images")
        if self.names is not None and len(self.names) != self.count:
            raise DataError(f"{self.description}: {len(self.names)} names for {self.count} images")
        if self.labels is not None and self.labels.shape != (self.count,):
            raise DataError(f"{self.description}: {len(self.labels)} labels for {self.count} images")
        if self.labels is not None and self.class_names and int(self.labels.max()) >= len(self.class_names):
            raise DataError(
                f"{self.description}: labels go up to {int(self.labels.max())}, and {len(self.class_names)} classes "
                "have names"
            )
        if self.attributes is not None and self.attributes.shape != (self.count, len(self.attribute_names)):
            wanted = [self.count, len(self.attribute_names)]
            raise DataError(
                f"{self.description}: attributes have the shape {list(self.attributes.shape)}, not {wanted}"
            )

    def __len__(self) -> int:
        return self.count

    @property
    def num_classes(self) -> int | None:
        """K of labels 0 .. K-1: as many as have names, or as the largest label asks for. None without labels."""
        return None if self.labels is None else len(self.class_names) or int(self.labels.max()) + 1

    def labels_for(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Return the labels, int64 [count], for a model of so many classes.

        Raises:
            DataError: there are none, or some are no classes of the model.
        """
        if self.labels is None:
            raise DataError(
                f"{self.description}: no class labels in it; this model is conditioned on {num_classes} classes"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= num_classes:
            raise DataError(
                f"{self.description}: class labels lie in {low}..{high}, the model knows 0..{num_classes - 1}; "
                "give the images that the model was trained on, or others like them"
            )
        return self.labels

    def name(self, row: int) -> str:
        """Return where image `row` is to be found: its file, or its number in the source."""
        if self.names is not None:
            return f"{self.root}{self.names[row]}"
        return str(row if self.numbers is None else int(self.numbers[row]))

    def batch(self, indices: npt.ArrayLike) -> Values:
        """Return the 8-bit picture values of these images, uint8 [n,C,H,W].

        Raises:
            DataError: an image cannot be read or does not fit.
        """
        return self.read(np.asarray(indices, dtype=np.int64))

    def batch_of(
        self, indices: npt.ArrayLike, *, left_out: list[LeftOut] | None = None
    ) -> tuple[Values, npt.NDArray[np.int64]]:
        """Return the values of these images, and the numbers of those that could be read.

        Args:
            indices: numbers of images.
            left_out: takes what cannot be read; None raises instead.

        Raises:
            DataError: an image cannot be read, and may not be left out.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        try:
            return self.read(wanted), wanted
        except DataError:
            if left_out is None:
                raise
        found, kept = [np.empty((0, *self.shape), np.uint8)], []
        for row in wanted.tolist():
            try:
                found.append(self.read(np.array([row])))
                kept.append(row)
            except DataError as error:
                left_out.append(LeftOut(name=self.name(row), reason=str(error)))
        return np.concatenate(found), np.array(kept, np.int64)

    def select(self, rows: npt.ArrayLike) -> ImageSet:
        """Return the images of these numbers, in this order, as a set of their own."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            count=len(chosen),
            read=_Rows(read=self.read, rows=chosen),
            labels=None if self.labels is None else self.labels[chosen],
            attributes=None if self.attributes is None else self.attributes[chosen],
            names=None if self.names is None else [self.names[row] for row in chosen],
            numbers=chosen if self.numbers is None else self.numbers[chosen],
            stand_ins=np.flatnonzero(np.isin(chosen, self.stand_ins)),
        )

    def unreadable(self, progress: CountProgress | None = None) -> list[tuple[int, LeftOut]]:
        """Decode every image and return those that cannot be read, by number. Images in memory are not looked at."""
        found: list[tuple[int, LeftOut]] = []
        if self.names is None:
            return found
        for row in range(self.count):
            try:
                self.read(np.array([row]))
            except DataError as error:
                found.append((row, LeftOut(name=self.name(row), reason=str(error))))
            if progress is not None:
                progress(row + 1, self.count)
        return found

    def readable(self, progress: CountProgress | None = None) -> ImageSet:
        """Decode every image, and return the set without those that cannot be read, which are listed in `left_out`.

        Raises:
            DataError: none can be.
        """
        bad = self.unreadable(progress)
        if not bad:
            return self
        if len(bad) == self.count:
            raise DataError(
                f"{self.description}: none of {self.count} pictures can be read; the first: {bad[0][1].reason}"
            )
        kept = np.setdiff1d(np.arange(self.count), [row for row, _ in bad])
        return replace(self.select(kept), left_out=(*self.left_out, *(left for _, left in bad)))

    def arranged(self, names: Sequence[str], labels: npt.NDArray[np.int64] | None = None) -> ImageSet:
        """Return the images of these names in this order; where one is not here, another of its class stands in.

        The stand-in for a name is the next of the names that is here. So a run that has lost pictures goes on with the
        numbers that all others had.

        Args:
            names: in the order wanted.
            labels: their classes, int64 [len(names)]; None without classes.

        Raises:
            DataError: the images have no names, or nothing can stand in.
        """
        if self.names is None:
            raise DataError(f"{self.description}: the images have no names to be arranged by")
        place = {name: row for row, name in enumerate(self.names)}
        rows = np.array([place.get(name, -1) for name in names], np.int64)
        lost = np.flatnonzero(rows < 0)
        for number in lost.tolist():
            pool = np.flatnonzero((rows >= 0) if labels is None else (rows >= 0) & (labels == labels[number]))
            pool = np.setdiff1d(pool, lost)
            if not pool.size:
                what = "" if labels is None else " of its class"
                raise DataError(
                    f"{self.description}: {self.root}{names[number]} cannot be read, and no other picture{what} is left"
                )
            rows[number] = rows[pool[np.searchsorted(pool, number) % len(pool)]]
        return replace(self.select(rows), names=list(names), stand_ins=lost)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Reads chosen images of a larger set. A class and no closure, so that it can be sent to another process."""

    read: Callable[[Indices], Values]
    rows: Indices

    def __call__(self, indices: Indices) -> Values:
        return self.read(self.rows[indices])
