"""A data set that has been opened, whose splits are taken from it one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from glow_deploy.errors import DataError, UsageError
from glow_deploy.progress import StageProgress

from .image_set import ImageSet
from .splits import SPLITS, Split, named_split, take_split

__all__ = ["OpenedImages", "Part", "Parts"]

Part = Literal["train", "validation", "test", "whole"]
"""`whole` is a set that names no splits."""

Parts = Mapping[Part, Callable[[], ImageSet]]
"""What a source holds; each part is opened when it is asked for."""


class OpenedImages:
    """Takes the splits of one data set. Each part of the source is opened once, however many splits are made of it.

    Args:
        parts: `whole` alone, or the splits that the source names.
        missing: says that a split is not there, and what is.
        decode: decode all pictures of a part when it is opened, and leave out those that cannot be read.
        progress: told how far that is.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        missing: Callable[[Split], str],
        decode: bool = False,
        progress: StageProgress | None = None,
    ) -> None:
        self._parts = parts
        self._missing = missing
        self._decode = decode
        self._progress = progress
        self._opened: dict[Part, ImageSet] = {}

    @property
    def parts(self) -> tuple[Part, ...]:
        """Which parts there are."""
        return tuple(self._parts)

    @property
    def opened(self) -> Mapping[Part, ImageSet]:
        """The parts opened so far."""
        return self._opened

    def take(self, split: Split, *, limit: int | None = None) -> ImageSet:
        """Return one split; see `take_split` for sets that name none.

        Args:
            split: `train`, `validation` or `test`.
            limit: only so many images, evenly spread over the set: sets sorted by class would give one class from the
                start alone. The same images every time.

        Raises:
            DataError: it is not there, damaged, or holds images that do not fit.
            UsageError: no such split, or a limit below 1.
        """
        if split not in SPLITS:
            raise UsageError(f"split is {split!r}; choose one of {', '.join(SPLITS)}")
        if limit is not None and limit < 1:
            raise UsageError(f"the limit on images is {limit}; it must be at least 1")
        images: ImageSet | None
        if "whole" in self._parts:
            images = take_split(self.part("whole"), split)
        else:
            images = named_split(split, {name: _opener(self, name) for name in SPLITS if name in self._parts})
        if images is None:
            raise DataError(self._missing(split))
        if limit is None or limit >= len(images):
            return images
        return images.select([row * len(images) // limit for row in range(limit)])

    def part(self, part: Part) -> ImageSet:
        """Return all images of a part."""
        if part not in self._opened:
            images = self._parts[part]()
            self._opened[part] = images.readable(self._count) if self._decode else images
        return self._opened[part]

    def arrange(self, part: Part, images: ImageSet) -> None:
        """Put other images in the place of a part, such as the same in another order."""
        self._opened[part] = images

    def _count(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress("checking pictures", done, total)


def _opener(opened: OpenedImages, part: Part) -> Callable[[], ImageSet]:
    return lambda: opened.part(part)
