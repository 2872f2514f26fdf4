"""Data sets of the Hugging Face hub, or laid out like one on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from glow_deploy.errors import DataError, MissingDependencyError
from glow_deploy.images import read_picture

from .fit import Fit
from .image_set import ImageSet, Indices, Values
from .splits import Split, named_split

__all__ = ["hub_images"]

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


def hub_images(name: str, *, split: Split, fit: Fit) -> ImageSet:
    """Open a data set with an image column; a column of class labels, if there is one, gives the labels.

    Args:
        name: `OWNER/NAME` on the hub, or a folder in the hub's layout.
        split: see `named_split` for sets that lack one.
        fit: what the model takes.

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
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"hf:{name} cannot be opened ({reason}); check the name and the network") from error
    parts: dict[Split, Callable[[], ImageSet]] = {
        part: partial(_wrap, found[candidate], fit, f"hf:{name}, {candidate}")
        for part, candidates in _SPLIT_NAMES.items()
        for candidate in reversed(candidates)
        if candidate in found
    }
    images = named_split(split, parts)
    if images is None:
        raise DataError(f"hf:{name} has no split for {split}; it has {', '.join(found)}")
    return images


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


def _wrap(rows: Any, fit: Fit, description: str) -> ImageSet:
    import datasets

    image = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.Image)), None)
    if image is None:
        raise DataError(f"{description}: no image column among {', '.join(rows.features)}")
    label = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    # Undecoded, so that every picture goes through the one reader that knows about damaged and oversized files.
    raw = rows.cast_column(image, datasets.Image(decode=False))

    def picture(index: int, size: tuple[int, int] | None, channels: int | None) -> Values:
        held = raw[int(index)][image]
        if held is None:
            raise DataError(f"{description}: image {index} is missing from its row")
        data = held["bytes"] if held["bytes"] is not None else held["path"]
        return read_picture(data, size=size, channels=channels, resize=fit.resize, name=f"{description}, image {index}")

    if not len(raw):
        raise DataError(f"{description}: there are no images")
    first = picture(0, fit.size, fit.channels)
    shape = (first.shape[0], first.shape[1], first.shape[2])

    def read(indices: Indices) -> Values:
        return np.stack([picture(int(index), shape[1:], shape[0]) for index in indices])

    classes = None if label is None else list(rows[label])
    # Some sets publish their test split without labels, as None or -1.
    known = classes is not None and all(number is not None and number >= 0 for number in classes)
    labels = np.asarray(classes, dtype=np.int64) if known else None
    names = () if label is None or labels is None else tuple(rows.features[label].names or ())
    return ImageSet(description=description, shape=shape, count=len(raw), read=read, labels=labels, class_names=names)
