"""Images with attributes, in two parts: one to average latents over, one held out to measure on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.data import ImageSet, LeftOut, OpenedImages, open_images
from glow_deploy.data.opened import Part
from glow_deploy.data.reading import Reading
from glow_deploy.data.splits import held_out as held_out_of
from glow_deploy.data.splits import take_split
from glow_deploy.errors import DataError, UsageError
from glow_deploy.progress import StageProgress

from .attribute_table import MOST_ATTRIBUTES, AttributeTable, check_names, read_attribute_table
from .matching import match_names

__all__ = ["LabelledImages", "load_labelled"]

_HELD_OUT: tuple[Part, ...] = ("test", "validation")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """A labelled set.

    Attributes:
        source: where it comes from, in words.
        train: images that the directions are averaged over, with `attributes`.
        held_out: others, of the same attributes, that everything is measured on.
        notes: what was passed over, one sentence each.
    """

    source: str
    train: ImageSet
    held_out: ImageSet
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.train.attribute_names
        check_names(names, self.source)
        if self.train.attributes is None or self.held_out.attributes is None or names != self.held_out.attribute_names:
            raise DataError(f"{self.source}: both parts must have the same attributes")

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Pictures of either part that could not be read."""
        return tuple(dict.fromkeys((*self.train.left_out, *self.held_out.left_out)))

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What was passed over, and what was decided about the images, one sentence each."""
        return tuple(dict.fromkeys((*self.notes, *self.train.notes, *self.held_out.notes)))

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes."""
        return self.train.attribute_names


def load_labelled(
    spec: str | Path,
    *,
    labels: str | Path | None = None,
    tags: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: bool = False,
    limit: int | None = None,
    skip_unreadable: bool = False,
    reading: Reading | None = None,
    progress: StageProgress | None = None,
) -> LabelledImages:
    """Open images with their attributes.

    The held-out part is the set's test split, or its validation split; of a set that names no splits it is the tenth
    that training on that set leaves out for validation.

    Args:
        spec: as for `glow_deploy.data.load_images`. Without `labels` the set must bring attributes (`faces`, or an .npz
            with `attributes` and `attribute_names`) or classes, each of which is then one attribute.
        labels: a table for pictures with names, such as a folder of them, see `read_attribute_table`; or one without
            file names for a set that names no splits, row by row.
        tags: only these attributes.
        size: (H, W) that the model takes, or None for the images' own.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size.
        limit: only so many images of either part, evenly spread.
        skip_unreadable: decode the images once, and leave out those that cannot be read: `LabelledImages.left_out`.
        reading: what the files do not say about their values.
        progress: told how many pictures have been looked at.

    Raises:
        DataError: something is missing, damaged or does not fit together.
        UsageError: an attribute that is not there.

    Examples:
        >>> faces = load_labelled("faces", tags=["hat", "smiling"])
        >>> faces.names, len(faces.train), len(faces.held_out)
        (('hat', 'smiling'), 6000, 300)
    """
    opened = open_images(
        spec,
        size=size,
        channels=channels,
        resize=resize,
        skip_unreadable=skip_unreadable,
        reading=reading,
        decode=False,
        progress=progress,
    )
    if labels is None:
        found = _own_attributes(str(spec), opened, tags)
    else:
        found = _with_table(str(spec), opened, read_attribute_table(labels, tags=tags))
    if limit is not None:
        if limit < 1:
            raise UsageError(f"the limit on images is {limit}; it must be at least 1")
        found = replace(found, train=_spread(found.train, limit), held_out=_spread(found.held_out, limit))
    if not skip_unreadable:
        return found

    def checked(done: int, total: int) -> None:
        if progress is not None:
            progress("checking pictures", done, total)

    return replace(found, train=found.train.readable(checked), held_out=found.held_out.readable(checked))


def _own_attributes(spec: str, opened: OpenedImages, tags: Sequence[str] | None) -> LabelledImages:
    other = opened.take("test")
    if other.undivided:  # divided here as `load_images` would
        train, other = opened.take("train"), opened.take("validation")
    else:
        train = opened.take("train")
    if train.attributes is None:
        if train.labels is None or other.labels is None:
            raise DataError(
                f"{spec} says nothing about its images; give a table of attributes (labels=), or an .npz with "
                "`attributes` and `attribute_names`"
            )
        names = train.class_names or tuple(f"class-{number}" for number in range(_classes(spec, train, other)))
        train, other = (_classes_as_attributes(images, names) for images in (train, other))
    if tags is not None:
        train, other = _only(train, tags, spec), _only(other, tags, spec)
    return LabelledImages(source=spec, train=train, held_out=other)


def _classes(spec: str, *parts: ImageSet) -> int:
    """How many classes there are; looked at before an array of that width is made."""
    labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_ATTRIBUTES:
        raise DataError(
            f"{spec} has class labels from {low} to {high}; 0 to {MOST_ATTRIBUTES - 1} can be taken as attributes"
        )
    return high + 1


def _classes_as_attributes(images: ImageSet, names: tuple[str, ...]) -> ImageSet:
    assert images.labels is not None
    return replace(images, attributes=images.labels[:, None] == np.arange(len(names)), attribute_names=names)


def _only(images: ImageSet, tags: Sequence[str], source: str) -> ImageSet:
    names = images.attribute_names
    for tag in tags:
        if tag not in names:
            raise UsageError(f"{source} has no attribute {tag!r}; it has {', '.join(names)}")
    chosen = tuple(dict.fromkeys(tags))
    assert images.attributes is not None
    columns = [names.index(tag) for tag in chosen]
    return replace(images, attributes=images.attributes[:, columns], attribute_names=chosen)


def _with_table(spec: str, opened: OpenedImages, table: AttributeTable) -> LabelledImages:
    source = f"{spec} with {table.source}"
    if table.files is not None:
        return _by_name(spec, opened, table, table.files, source)
    if opened.parts != ("whole",):
        raise DataError(f"{spec} names its splits, so rows of {table.source} must say which images they mean: `files`")
    whole = opened.part("whole")
    count = len(whole) + len(whole.left_out)
    if count != len(table):
        raise DataError(f"{table.source} has {len(table)} rows for the {count} images of {spec}")
    values = table.values if whole.numbers is None else table.values[whole.numbers]
    whole = replace(whole, attributes=values, attribute_names=table.names)
    return LabelledImages(source=source, train=take_split(whole, "train"), held_out=take_split(whole, "validation"))


def _by_name(
    spec: str, opened: OpenedImages, table: AttributeTable, files: Sequence[str], source: str
) -> LabelledImages:
    parts = {part: opened.part(part) for part in opened.parts}
    if any(images.names is None for images in parts.values()):
        raise DataError(
            f"{table.source} names picture files, so the images must be a folder of pictures; {spec} is none"
        )
    names = [name for images in parts.values() for name in images.names or ()]
    row_of = match_names(names, files, table=table.source, source=spec)
    missing = len(files) - int((row_of >= 0).sum())
    rows: dict[Part, npt.NDArray[np.int64]] = {}
    first = 0
    for part, images in parts.items():
        rows[part] = row_of[first : first + len(images)]
        first += len(images)
    train, held_out = (_known(images, rows[part][chosen], table, source) for part, images, chosen in _divide(parts))
    notes = []
    if missing:
        notes.append(f"{missing} of {len(table)} rows of {table.source} name pictures that are not in {spec}")
    if bare := int((row_of < 0).sum()):
        notes.append(f"{bare} of {len(names)} pictures in {spec} are not in {table.source}")
    return LabelledImages(source=source, train=train, held_out=held_out, notes=tuple(notes))


def _divide(parts: Mapping[Part, ImageSet]) -> tuple[tuple[Part, ImageSet, npt.NDArray[np.int64]], ...]:
    """The part and the pictures of it to average over, and those held out."""
    part: Part = next(name for name in ("train", "whole", *parts) if name in parts)
    count = len(parts[part])
    other = next((name for name in _HELD_OUT if part == "train" and name in parts), None)
    if other is not None:
        every = np.arange(count)
        return (part, parts[part], every), (other, parts[other], np.arange(len(parts[other])))
    apart = held_out_of(count)
    rest = np.setdiff1d(np.arange(count), apart)
    return (part, parts[part].select(rest), rest), (part, parts[part].select(apart), apart)


def _known(images: ImageSet, rows: npt.NDArray[np.int64], table: AttributeTable, source: str) -> ImageSet:
    """The images that the table names, with their attributes; `rows` are theirs in it, -1 for none."""
    known = np.flatnonzero(rows >= 0)
    if not known.size:
        raise DataError(f"{source}: no labelled pictures are left in one of the two parts, averaged over and held out")
    return replace(images.select(known), attributes=table.values[rows[known]], attribute_names=table.names)


def _spread(images: ImageSet, limit: int) -> ImageSet:
    if limit >= len(images):
        return images
    return images.select([row * len(images) // limit for row in range(limit)])
