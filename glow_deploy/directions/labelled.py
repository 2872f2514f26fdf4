"""Images with attributes, in two parts: one to average latents over, one held out to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.data import ImageSet, Split, load_images
from glow_deploy.data.fit import Fit
from glow_deploy.data.folder import picture_images
from glow_deploy.data.splits import held_out, take_split
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import PICTURE_SUFFIXES

from .attribute_table import MOST_ATTRIBUTES, AttributeTable, check_names, read_attribute_table

__all__ = ["LabelledImages", "load_labelled"]

# As `glow_deploy.data` reads folders, so that what a model was not trained on is what is held out here.
_SPLIT_FOLDERS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


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
) -> LabelledImages:
    """Open images with their attributes.

    The held-out part is the set's test split, or its validation split; of a set that names no splits it is the tenth
    that training on that set leaves out for validation.

    Args:
        spec: as for `glow_deploy.data.load_images`. Without `labels` the set must bring attributes (`faces`, or an .npz
            with `attributes` and `attribute_names`) or classes, each of which is then one attribute.
        labels: a table for a folder of pictures, see `read_attribute_table`; or one without file names for a set that
            names no splits, row by row.
        tags: only these attributes.
        size: (H, W) that the model takes, or None for the images' own.
        channels: 1 or 3, or None for the images' own.
        resize: crop and resample images of another size.
        limit: only so many images of either part, evenly spread.

    Raises:
        DataError: something is missing, damaged or does not fit together.
        UsageError: an attribute that is not there.

    Examples:
        >>> faces = load_labelled("faces", tags=["hat", "smiling"])
        >>> faces.names, len(faces.train), len(faces.held_out)
        (('hat', 'smiling'), 6000, 300)
    """
    fit = Fit(size=size, channels=channels, resize=resize)
    if labels is None:
        found = _own_attributes(str(spec), fit, tags)
    else:
        found = _with_table(str(spec), read_attribute_table(labels, tags=tags), fit)
    if limit is None:
        return found
    if limit < 1:
        raise UsageError(f"the limit on images is {limit}; it must be at least 1")
    return replace(found, train=_spread(found.train, limit), held_out=_spread(found.held_out, limit))


def _own_attributes(spec: str, fit: Fit, tags: Sequence[str] | None) -> LabelledImages:
    options = {"size": fit.size, "channels": fit.channels, "resize": fit.resize}
    other = load_images(spec, split="test", **options)  # type: ignore[arg-type]
    if other.undivided:  # divided here as `load_images` would, without reading an archive once more for each part
        whole = replace(other, undivided=False)
        train, other = take_split(whole, "train"), take_split(whole, "validation")
    else:
        train = load_images(spec, split="train", **options)  # type: ignore[arg-type]
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


def _with_table(spec: str, table: AttributeTable, fit: Fit) -> LabelledImages:
    source = f"{spec} with {table.source}"
    if table.files is not None:
        return _folder(spec, table, table.files, fit, source)
    whole = load_images(spec, split="test", size=fit.size, channels=fit.channels, resize=fit.resize)
    if not whole.undivided:
        raise DataError(f"{spec} names its splits, so rows of {table.source} must say which images they mean: `files`")
    if len(whole) != len(table):
        raise DataError(f"{table.source} has {len(table)} rows for the {len(whole)} images of {spec}")
    whole = replace(whole, attributes=table.values, attribute_names=table.names)
    return LabelledImages(source=source, train=take_split(whole, "train"), held_out=take_split(whole, "validation"))


def _folder(spec: str, table: AttributeTable, files: Sequence[str], fit: Fit, source: str) -> LabelledImages:
    folder = Path(spec)
    if not folder.is_dir():
        raise DataError(
            f"{table.source} names picture files, so the images must be a folder of pictures; {spec} is none"
        )
    pictures = _pictures(folder)
    # Names are only ever looked up among the files found, so that a table cannot name a place outside the folder.
    by_path = {picture.relative_to(folder).as_posix(): number for number, picture in enumerate(pictures)}
    by_name: dict[str, int | None] = {}
    for number, picture in enumerate(pictures):
        by_name[picture.name] = None if picture.name in by_name else number
    row_of = np.full(len(pictures), -1, np.int64)
    missing = 0
    for row, name in enumerate(files):
        plain = name.replace("\\", "/").removeprefix("./")
        found = by_path.get(plain, by_name.get(plain))
        if found is None and plain in by_name:
            raise DataError(f"{table.source}: {name!r} is in more than one subfolder of {spec}; name them with those")
        if found is None:
            missing += 1
            continue
        if row_of[found] >= 0:
            raise DataError(f"{table.source}: {files[row_of[found]]!r} and {name!r} are the same picture of {spec}")
        row_of[found] = row
    if not (row_of >= 0).any():
        raise DataError(f"{table.source} names {files[0]!r} and the like; no such pictures are in {spec}")
    parts = [_part(numbers, pictures, row_of, table, fit, source) for numbers in _divide(pictures, folder)]
    notes = []
    if missing:
        notes.append(f"{missing} of {len(table)} rows of {table.source} name pictures that are not in {spec}")
    if bare := int((row_of < 0).sum()):
        notes.append(f"{bare} of {len(pictures)} pictures in {spec} are not in {table.source}")
    return LabelledImages(source=source, train=parts[0], held_out=parts[1], notes=tuple(notes))


def _part(
    numbers: npt.NDArray[np.int64],
    pictures: Sequence[Path],
    row_of: npt.NDArray[np.int64],
    table: AttributeTable,
    fit: Fit,
    source: str,
) -> ImageSet:
    known = numbers[row_of[numbers] >= 0]
    if not known.size:
        raise DataError(f"{source}: no labelled pictures are left in one of the two parts, averaged over and held out")
    images = picture_images([pictures[number] for number in known], fit=fit, description=source)
    return replace(images, attributes=table.values[row_of[known]], attribute_names=table.names)


def _divide(pictures: Sequence[Path], folder: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Numbers of the pictures to average over and of those held out."""
    splits = [_SPLIT_FOLDERS.get(picture.relative_to(folder).parts[0]) for picture in pictures]
    numbers = {name: np.array([i for i, split in enumerate(splits) if split == name], np.int64) for name in splits}
    train = numbers.get("train", np.arange(0))
    if not train.size:
        train = np.arange(len(pictures))
        apart = held_out(len(pictures))
    elif "test" in numbers or "validation" in numbers:
        return train, numbers.get("test", numbers.get("validation", np.arange(0)))
    else:
        apart = train[held_out(len(train))]
    return np.setdiff1d(train, apart), apart


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _spread(images: ImageSet, limit: int) -> ImageSet:
    if limit >= len(images):
        return images
    return images.select([row * len(images) // limit for row in range(limit)])
