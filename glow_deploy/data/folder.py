"""A folder of pictures, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import PICTURE_SUFFIXES, read_picture

from .fit import Fit
from .image_set import ImageSet, Indices, Values
from .splits import Split, named_split, take_split

__all__ = ["folder_images", "picture_images"]

_SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


def folder_images(folder: Path, *, split: Split, fit: Fit) -> ImageSet:
    """Find the pictures of a folder and all below it, in the order of their names. Hidden files are passed over.

    Subfolders named train, validation (or val) and test are the splits, see `named_split`. Without them the folder is
    divided by `take_split`. Subfolders below that, if every picture lies in one, are classes, numbered in the order of
    their names.

    Raises:
        DataError: no pictures, or a split that is not there.
    """
    roots: dict[Split, Path] = {
        name: folder / candidate
        for name, candidates in _SPLIT_FOLDERS.items()
        for candidate in reversed(candidates)
        if (folder / candidate).is_dir()
    }
    if not roots.keys() & {"train", "test"}:
        return take_split(_tree(folder, fit, _classes([folder])), split)
    # One numbering for all splits, though a class may be missing from some of them.
    classes = _classes(list(roots.values()))
    parts: dict[Split, Callable[[], ImageSet]] = {
        name: partial(_tree, root, fit, classes) for name, root in roots.items()
    }
    images = named_split(split, parts)
    if images is None:
        raise DataError(f"{folder} has no folder for the split {split}; it may be named {_SPLIT_FOLDERS[split][0]}")
    return images


def picture_images(
    paths: Sequence[Path],
    *,
    fit: Fit,
    description: str,
    labels: npt.NDArray[np.int64] | None = None,
    class_names: Sequence[str] = (),
) -> ImageSet:
    """Wrap picture files; without a size in `fit` they must all be as large as the first.

    Args:
        paths: at least one.
        fit: what the model takes.
        description: for messages.
        labels: class of every picture.
        class_names: of class 0, 1, ...

    Raises:
        DataError: the first picture cannot be read or does not fit. Others are reported when they are read.
    """
    if not paths:
        raise DataError(f"{description}: no pictures there ({', '.join(sorted(PICTURE_SUFFIXES))} are looked for)")
    first = read_picture(paths[0], size=fit.size, channels=fit.channels, resize=fit.resize)
    shape = (first.shape[0], first.shape[1], first.shape[2])

    def read(indices: Indices) -> Values:
        pictures = [
            read_picture(paths[index], size=shape[1:], channels=shape[0], resize=fit.resize) for index in indices
        ]
        return np.stack(pictures) if pictures else np.empty((0, *shape), np.uint8)

    return ImageSet(
        description=description,
        shape=shape,
        count=len(paths),
        read=read,
        labels=labels,
        class_names=tuple(class_names),
    )


def _tree(folder: Path, fit: Fit, classes: Sequence[str]) -> ImageSet:
    paths = _pictures(folder)
    labels: npt.NDArray[np.int64] | None = None
    if classes and paths:
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[path.relative_to(folder).parts[0]] for path in paths], np.int64)
    return picture_images(paths, fit=fit, description=str(folder), labels=labels, class_names=classes)


def _classes(roots: Sequence[Path]) -> list[str]:
    """Return the class names that the subfolders of all `roots` stand for; none if a picture lies in no subfolder."""
    relative = [path.relative_to(root).parts for root in roots for path in _pictures(root)]
    if any(len(parts) == 1 for parts in relative):
        return []
    names = sorted({parts[0] for parts in relative})
    return names if len(names) > 1 else []


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        # File managers and notebooks leave thumbnails and copies in hidden folders.
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
