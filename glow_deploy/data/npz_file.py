"""Images in an .npz file: `images` uint8 [N,H,W,C] or [N,H,W], and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError
from glow_deploy.printable import one_line

from .arrays import array_images
from .fit import Fit
from .image_set import ImageSet
from .opened import Part
from .reading import Reading
from .splits import SPLITS

__all__ = ["npz_parts"]


def npz_parts(path: Path, *, fit: Fit, reading: Reading) -> dict[Part, Callable[[], ImageSet]]:
    """Read an .npz file, once for all of its parts.

    Besides `images` it may hold `labels` [N] (whole numbers) with `label_names` [K], `attributes` [N,K] (1, and 0
    or -1) with `attribute_names` [K], and `split` [N] (whole numbers) with `split_names`: see
    `named_split` for files that lack one of the three. Without `split` the file is one whole.

    Raises:
        DataError: damaged, without images, or with arrays that do not fit together.
    """
    with NpzArchive(path) as archive:
        if "images" not in archive:
            raise DataError(f"{path} has no array `images`; it has {archive.listed}")
        images = array_images(
            archive.mapped("images"),
            fit=fit,
            description=str(path),
            reading=reading,
            labels=_labels(archive, path),
            class_names=_names(archive, "label_names"),
            attributes=_attributes(archive, path),
            attribute_names=_names(archive, "attribute_names"),
        )
        if "split" not in archive:
            return {"whole": lambda: images}
        numbers, names = archive.read("split"), _names(archive, "split_names")
    if numbers.shape != (len(images),) or numbers.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: `split` has the shape {list(numbers.shape)} and holds {numbers.dtype}; a number for each of "
            f"{len(images)} images is needed"
        )
    parts: dict[Part, Callable[[], ImageSet]] = {
        name: partial(images.select, np.flatnonzero(numbers == names.index(name))) for name in SPLITS if name in names
    }
    if not parts:
        held = one_line(", ".join(names), longest=200) or "no split_names"
        raise DataError(f"{path} has no split named {' or '.join(SPLITS)}; it has {held}")
    return parts


def _labels(archive: NpzArchive, path: Path) -> npt.NDArray[np.int64] | None:
    if "labels" not in archive:
        return None
    labels = archive.read("labels")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: `labels` are {labels.dtype} {list(labels.shape)}; whole numbers [N] are needed")
    return labels.astype(np.int64)


def _attributes(archive: NpzArchive, path: Path) -> npt.NDArray[np.bool_] | None:
    if "attributes" not in archive:
        return None
    if "attribute_names" not in archive:
        raise DataError(f"{path}: `attributes` need `attribute_names`")
    attributes = archive.read("attributes")
    if attributes.dtype.kind not in "biuf" or not np.isin(attributes, (-1, 0, 1)).all():
        raise DataError(f"{path}: `attributes` hold other values than 0 and 1, or -1 and 1")
    return np.asarray(attributes == 1)


def _names(archive: NpzArchive, key: str) -> tuple[str, ...]:
    return archive.texts(key) if key in archive else ()
