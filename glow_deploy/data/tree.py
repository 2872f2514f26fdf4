"""Pictures with paths for names, as folders and archives hold them: splits and classes come from the paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.images import PICTURE_SUFFIXES
from glow_deploy.progress import CountProgress

from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .pictures import Load, Pictures, picture_set
from .reading import Reading
from .splits import Split

__all__ = ["SPLIT_FOLDERS", "PictureTree", "missing_folder", "tree_parts"]

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureTree:
    """Pictures of one source.

    Attributes:
        description: where they come from, in words.
        names: of each, with `/` between folders.
        load: gives each.
        root: what comes before a name to say where it is.
        labels: class of each where the source says it; None takes the folders.
        divide: finds the splits where no folders name them; gives their rows, and what to say about it.
        notes: what there is to say about them.
    """

    description: str
    names: Sequence[str]
    load: Load
    root: str
    labels: npt.NDArray[np.int64] | None = None
    divide: Callable[[Sequence[str]], tuple[dict[Split, list[int]], str] | None] | None = None
    notes: tuple[str, ...] = ()


def tree_parts(
    tree: PictureTree, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> dict[Part, Callable[[], ImageSet]]:
    """Divide pictures by their paths.

    Folders named train, validation (or val) and test are the splits. Folders below that, if every picture lies in one,
    are classes, numbered in the order of their names. A folder that everything lies in counts for nothing.
    """
    paths = _below([tuple(name.split("/")) for name in tree.names])
    make = partial(_part, tree, fit=fit, reading=reading, progress=progress)
    splits = [_split(path[0]) if len(path) > 1 else None for path in paths]
    if not {"train", "test"} & set(splits):
        classes = _classes(paths, depth=0)
        found = None if tree.divide is None else tree.divide(tree.names)
        if found is None:
            return {"whole": lambda: make(paths, rows=range(len(paths)), depth=0, classes=classes, notes=tree.notes)}
        rows, note = found
        notes = (*tree.notes, note)
        return {
            split: partial(make, paths, rows=chosen, depth=0, classes=classes, notes=notes)
            for split, chosen in rows.items()
        }
    rows = {}
    # Of two folders for one split the first name counts.
    first = {split: _first(split, paths) for split in SPLIT_FOLDERS}
    for row, split in enumerate(splits):
        if split is not None and paths[row][0] == first[split]:
            rows.setdefault(split, []).append(row)
    # One numbering for all splits, though a class may be missing from some of them.
    classes = _classes([paths[row] for chosen in rows.values() for row in chosen], depth=1)
    return {
        split: partial(make, paths, rows=chosen, depth=1, classes=classes, notes=tree.notes)
        for split, chosen in rows.items()
    }


def missing_folder(source: str) -> Callable[[Split], str]:
    """Return what says that a split's folder is missing."""
    return lambda split: f"{source} has no folder for the split {split}; it may be named {SPLIT_FOLDERS[split][0]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chosen:
    """Gives some of the pictures by their place among those."""

    load: Load
    rows: Sequence[int]

    def __call__(self, row: int) -> str | bytes:
        return self.load(self.rows[row])


def _part(
    tree: PictureTree,
    paths: Sequence[tuple[str, ...]],
    *,
    rows: Sequence[int],
    depth: int,
    classes: Sequence[str],
    fit: Fit,
    reading: Reading | None,
    notes: tuple[str, ...],
    progress: CountProgress | None,
) -> ImageSet:
    if not rows:
        more = "".join(f"; {note}" for note in notes)
        raise DataError(
            f"{tree.description}: no pictures there ({', '.join(sorted(PICTURE_SUFFIXES))} are looked for){more}"
        )
    labels: npt.NDArray[np.int64] | None = None
    if tree.labels is not None:
        labels, classes = tree.labels[list(rows)], ()
    elif classes:
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[_composed(paths[row][depth])] for row in rows], np.int64)
    where = "" if depth == 0 else f"/{paths[rows[0]][0]}"
    pictures = Pictures(
        description=f"{tree.description}{where}",
        names=[tree.names[row] for row in rows],
        load=_Chosen(load=tree.load, rows=rows),
        root=tree.root,
        labels=labels,
        class_names=classes,
        notes=notes,
    )
    return picture_set(pictures, fit=fit, reading=reading, progress=progress)


def _below(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Paths without a folder that all of them lie in, unless it is that of a split."""
    while paths and len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 1 and not _split(paths[0][0]):
        paths = [path[1:] for path in paths]
    return paths


def _split(folder: str) -> Split | None:
    return next((split for split, names in SPLIT_FOLDERS.items() if folder in names), None)


def _first(split: Split, paths: Sequence[tuple[str, ...]]) -> str | None:
    """The name among those of a split that is there."""
    there = {path[0] for path in paths if len(path) > 1}
    return next((name for name in SPLIT_FOLDERS[split] if name in there), None)


def _classes(paths: Sequence[tuple[str, ...]], *, depth: int) -> list[str]:
    """Return the class names that the folders stand for; none if a picture lies in no folder."""
    if any(len(path) == depth + 1 for path in paths):
        return []
    names = sorted({_composed(path[depth]) for path in paths})
    return names if len(names) > 1 else []


def _composed(folder: str) -> str:
    # Some file systems take accents apart, and one class must not become two.
    return unicodedata.normalize("NFC", folder)
