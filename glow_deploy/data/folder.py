"""A folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import PICTURE_SUFFIXES, find_in_folder
from glow_deploy.progress import CountProgress

from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .partition import listed_splits
from .pictures import Pictures, picture_set
from .reading import Reading
from .tree import PictureTree, tree_parts

__all__ = ["folder_parts", "picture_images"]


def folder_parts(
    folder: Path, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> dict[Part, Callable[[], ImageSet]]:
    """Find the pictures of a folder and all below it, in the order of their names. Hidden files are passed over.

    Subfolders are splits and classes: see `tree_parts`. Without folders for splits CelebA's own list divides the
    pictures, where it lies in the folder or beside it.

    Raises:
        DataError: a link leads round in circles.
    """
    found = find_in_folder(folder)
    names = [path.relative_to(folder).as_posix() for path in found.paths]
    tree = PictureTree(
        description=str(folder),
        names=names,
        load=_Files(root=f"{folder}/", names=names),
        root=f"{folder}/",
        divide=partial(listed_splits, folder),
        notes=() if found.note is None else (found.note,),
    )
    return tree_parts(tree, fit=fit, reading=reading, progress=progress)


def picture_images(
    paths: Sequence[Path],
    *,
    fit: Fit,
    description: str,
    labels: npt.NDArray[np.int64] | None = None,
    class_names: Sequence[str] = (),
    reading: Reading | None = None,
    progress: CountProgress | None = None,
) -> ImageSet:
    """Wrap picture files; without a size in `fit` the commonest is taken: see `picture_set`.

    Args:
        paths: at least one.
        fit: what the model takes.
        description: for messages.
        labels: class of every picture.
        class_names: of class 0, 1, ...
        reading: what the files do not say about their values.
        progress: told how many headers have been read.

    Raises:
        DataError: there are none, they cannot be read, or do not fit.
    """
    names = [str(path) for path in paths]
    if not names:
        raise DataError(f"{description}: no pictures there ({', '.join(sorted(PICTURE_SUFFIXES))} are looked for)")
    pictures = Pictures(
        description=description,
        names=names,
        load=_Files(root="", names=names),
        labels=labels,
        class_names=class_names,
    )
    return picture_set(pictures, fit=fit, reading=reading, progress=progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Files:
    """Gives the paths of picture files by number."""

    root: str
    names: Sequence[str]

    def __call__(self, row: int) -> str:
        return f"{self.root}{self.names[row]}"
