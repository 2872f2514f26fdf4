"""The images of a training run, and what of them the run remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .left_out import left_out_lines, write_left_out

if TYPE_CHECKING:
    from glow_deploy.data import ImageSet, OpenedImages
    from glow_deploy.data.check import PictureCheck
    from glow_deploy.data.reading import Reading
    from glow_deploy.progress import StageProgress

__all__ = ["LISTING_NAME", "RunImages", "checked", "open_pair", "reopen_pair"]

LISTING_NAME = "images.json"
_LEFT_OUT_NAME = "skipped.txt"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunImages:
    """Images to train on and to validate on.

    Attributes:
        train: the first.
        validation: the second.
        opened: the set that both are of.
        decoded: all pictures have been decoded, and those that could not be were left out.
    """

    train: ImageSet
    validation: ImageSet
    opened: OpenedImages
    decoded: bool

    def lines(self, folder: Path) -> Iterator[str]:
        """What there is to say about them, for the run in `folder`."""
        for images in self.opened.opened.values():
            yield from images.notes
        bad = [left for images in self.opened.opened.values() for left in images.left_out]
        yield from left_out_lines(bad, folder / _LEFT_OUT_NAME)

    def write(self, folder: Path) -> None:
        """Write into the run's folder which pictures it has, and which were left out."""
        from glow_deploy.data.listing import list_pictures

        listing = list_pictures(self.opened)
        if listing is None:
            (folder / LISTING_NAME).unlink(missing_ok=True)
        else:
            listing.write(folder / LISTING_NAME)
        bad = [left for images in self.opened.opened.values() for left in images.left_out]
        if bad:
            write_left_out(folder / _LEFT_OUT_NAME, bad)


def open_pair(
    source: str,
    shape: tuple[tuple[int, int] | None, int | None],
    *,
    resize: bool,
    skip_unreadable: bool,
    reading: Reading | None = None,
    progress: StageProgress | None = None,
) -> RunImages:
    """Open the training and validation images of a data set.

    Args:
        source: as `--data` spells it.
        shape: their size (H, W) and number of channels; None: as most of them are.
        resize: fit pictures of another size or mode.
        skip_unreadable: decode all pictures now, and leave out those that cannot be read.
        reading: what the files do not say about their values.
        progress: told how many pictures have been looked at.
    """
    from glow_deploy.data import open_images

    size, channels = shape
    opened = open_images(
        source,
        size=size,
        channels=channels,
        resize=resize,
        skip_unreadable=skip_unreadable,
        reading=reading,
        progress=progress,
    )
    return _pair(opened, decoded=skip_unreadable)


def reopen_pair(
    source: str,
    shape: tuple[tuple[int, int], int],
    *,
    folder: Path,
    resize: bool,
    skip_unreadable: bool,
    reading: Reading | None = None,
    progress: StageProgress | None = None,
) -> RunImages:
    """Open the images of a run that is to be resumed: those it began with, in their order.

    Args:
        source: as `--data` spells it.
        shape: of the model's images.
        folder: of the run. One of an earlier release does not say which pictures it had.
        resize: fit pictures of another size or mode.
        skip_unreadable: let others stand in for pictures that are gone or damaged.
        reading: what the files do not say about their values.
        progress: told how many pictures have been looked at.
    """
    from glow_deploy.data import open_images
    from glow_deploy.data.listing import read_listing, restore_pictures

    size, channels = shape
    listing = read_listing(folder / LISTING_NAME)
    lenient = skip_unreadable or listing is not None
    opened = open_images(
        source,
        size=size,
        channels=channels,
        resize=resize,
        skip_unreadable=lenient,
        reading=reading,
        decode=listing is None,
        progress=progress,
    )
    if listing is not None:
        restore_pictures(opened, listing, skip_unreadable=skip_unreadable, progress=_checking(progress))
    return _pair(opened, decoded=skip_unreadable)


@contextmanager
def checked(images: RunImages) -> Iterator[PictureCheck]:
    """Decode all pictures in the background, unless they have been."""
    from glow_deploy.data.check import PictureCheck

    with PictureCheck([] if images.decoded else [images.train, images.validation]) as check:
        yield check


def _pair(opened: OpenedImages, *, decoded: bool) -> RunImages:
    from glow_deploy.errors import DataError

    train, validation = opened.take("train"), opened.take("validation")
    if train.shape != validation.shape:
        raise DataError(
            f"{validation.description}: images are {_words(validation.shape)}, those to train on are "
            f"{_words(train.shape)}; name one size for both: image_size=HxW and resize=True"
        )
    return RunImages(train=train, validation=validation, opened=opened, decoded=decoded)


def _words(shape: tuple[int, int, int]) -> str:
    return f"{shape[2]}x{shape[1]} {'grey' if shape[0] == 1 else 'in colour'}"


def _checking(progress: StageProgress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress("checking pictures", done, total)
