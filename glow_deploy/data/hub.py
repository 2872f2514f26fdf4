"""Data sets of the Hugging Face hub, or laid out like one on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from glow_deploy.errors import DataError, MissingDependencyError
from glow_deploy.printable import one_line
from glow_deploy.progress import CountProgress

from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .pictures import Pictures, picture_set
from .reading import Reading
from .splits import Split

__all__ = ["hub_parts", "row_images"]

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


def hub_parts(
    name: str, *, fit: Fit, reading: Reading | None = None, progress: CountProgress | None = None
) -> tuple[dict[Part, Callable[[], ImageSet]], Callable[[Split], str]]:
    """Open a data set with an image column; a column of class labels, if there is one, gives the labels.

    Args:
        name: `OWNER/NAME` on the hub, or a folder in the hub's layout.
        fit: what the model takes.
        reading: what the files do not say about their values.
        progress: told how many headers have been read.

    Returns:
        Its parts, and what says that it has none for a split.

    Raises:
        DataError: no such data set, the hub cannot be reached, or there is no image column.
        MissingDependencyError: the package `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("hf: needs the package datasets: pip install 'glow-deploy[train]'") from error
    try:
        # Code inside a data set's repository is never run: `datasets` cannot from release 4 on, which is required.
        with _quiet():
            found = datasets.load_dataset(name)
    except Exception as error:  # network, authentication, layout: many unrelated types
        reason = one_line(error, longest=200)
        raise DataError(f"hf:{name} cannot be opened ({reason}); check the name and the network") from error
    parts: dict[Part, Callable[[], ImageSet]] = {
        part: partial(
            row_images,
            found[candidate],
            fit=fit,
            reading=reading,
            description=f"hf:{name}, {candidate}",
            progress=progress,
        )
        for part, candidates in _SPLIT_NAMES.items()
        for candidate in reversed(candidates)
        if candidate in found
    }
    return parts, lambda split: f"hf:{name} has no split for {split}; it has {', '.join(found)}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's client from writing a warning for each of its attempts; the last one is reported as an error."""
    import logging as levels

    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(levels.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def row_images(
    rows: Any, *, fit: Fit, reading: Reading | None, description: str, progress: CountProgress | None
) -> ImageSet:
    """Wrap the rows of a table with an image column.

    Args:
        rows: a `datasets.Dataset`.
        fit: what the model takes.
        reading: what the files do not say about their values.
        description: for messages.
        progress: told how many headers have been read.

    Raises:
        DataError: no image column, no rows, or pictures that cannot be read or do not fit.
    """
    import datasets

    image = next((key for key, kind in rows.features.items() if _holds_pictures(kind)), None)
    if image is None:
        raise DataError(f"{description}: no image column among {', '.join(rows.features)}")
    label = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if not len(rows):
        raise DataError(f"{description}: there are no images")
    classes = None if label is None else list(rows[label])
    # Some sets publish their test split without labels, as None or -1.
    known = classes is not None and all(number is not None and number >= 0 for number in classes)
    labels = np.asarray(classes, dtype=np.int64) if known else None
    names = () if label is None or labels is None else tuple(rows.features[label].names or ())
    pictures = Pictures(
        description=description,
        names=[f"image {row}" for row in range(len(rows))],
        # Undecoded, so that every picture goes through the one reader that knows about damaged and oversized files.
        load=_Rows(rows=_undecoded(rows, image), column=image, description=description),
        root=f"{description}, ",
        labels=labels,
        class_names=names,
    )
    return picture_set(pictures, fit=fit, reading=reading, progress=progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Gives the undecoded pictures of a column."""

    rows: Any
    column: str
    description: str

    def __call__(self, row: int) -> str | bytes:
        held = self.rows[row][self.column]
        found = held
        if isinstance(held, dict):
            found = held.get("bytes") if held.get("bytes") is not None else held.get("path")
        if not isinstance(found, (str, bytes)):
            raise DataError(f"{self.description}: image {row} is missing from its row")
        return found


def _holds_pictures(kind: Any) -> bool:
    """Images as `datasets` knows them, and the same where a table does not say so: bytes, or bytes with a path."""
    import datasets

    plain = isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")
    return isinstance(kind, datasets.Image) or plain or (isinstance(kind, dict) and "bytes" in kind)


def _undecoded(rows: Any, column: str) -> Any:
    import datasets

    if isinstance(rows.features[column], datasets.Image):
        return rows.cast_column(column, datasets.Image(decode=False))
    return rows
