"""What training needs from a data set, and the values it makes of it. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from glow_core.config import GlowConfig
from glow_core.errors import TrainingError

__all__ = [
    "ArrayImages",
    "ImageSource",
    "check_images",
    "fingerprint",
    "golden_images",
    "read_batch",
    "same_images",
    "spread",
]

_FINGERPRINT_IMAGES = 256


class ImageSource(Protocol):
    """Images by number, all of one size."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class of every image, int64 [N], or None."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return the 8-bit picture values of these images: uint8 [n,C,H,W] for `indices` int64 [n]."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArrayImages:
    """Images already in memory.

    Attributes:
        pixels: uint8 [N,C,H,W], 8-bit picture values.
        labels: int64 [N] or None.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return uint8 [n,C,H,W]."""
        chosen: np.ndarray = self.pixels[indices]
        return chosen


def read_batch(images: ImageSource, indices: np.ndarray, config: GlowConfig) -> np.ndarray:
    """Return pixels of the model's depth, uint8 [n,C,H,W] in 0 .. 2^n_bits - 1.

    Raises:
        TrainingError: the source gave another dtype or shape than the model takes.
    """
    values = np.asarray(images.batch(indices))
    wanted = (len(indices), config.channels, *config.image_size)
    if values.dtype != np.uint8 or values.shape != wanted:
        raise TrainingError(
            f"the images have dtype {values.dtype} and shape {values.shape}; the model takes uint8 {wanted}: "
            "resize or convert the images, or change the model's image size and channels"
        )
    return values >> np.uint8(8 - config.n_bits)


def check_images(images: ImageSource, config: GlowConfig, *, name: str) -> None:
    """Refuse a data set the model cannot be trained on, before anything is written.

    Args:
        images: the data set.
        config: of the model.
        name: how messages call the data set, e.g. `training`.

    Raises:
        TrainingError: no images, of another size than the model's, or labels missing or out of range.
    """
    if len(images) == 0:
        raise TrainingError(f"there are no {name} images")
    read_batch(images, np.zeros(1, dtype=np.int64), config)
    if config.num_classes is None:
        return
    labels = images.labels
    if labels is None:
        raise TrainingError(
            f"the model is class-conditional, but the {name} images have no "
            "labels; give images in one folder a class, or an .npz with `labels`"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise TrainingError(
            f"the {name} labels are {labels.dtype} {labels.shape}; they must be whole numbers [{len(images)}]"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= config.num_classes:
        raise TrainingError(
            f"the {name} labels run from {low} to {high}; the model has classes 0 to {config.num_classes - 1}"
        )


def spread(total: int, count: int | None) -> np.ndarray:
    """Return at most `count` of the numbers 0 .. total - 1, evenly spread, so that sorted sets are covered too."""
    if count is None or count >= total:
        return np.arange(total, dtype=np.int64)
    return np.arange(count, dtype=np.int64) * total // count


def fingerprint(images: ImageSource) -> str:
    """Return what tells data sets apart: the number of images, all labels and 256 of the images.

    `SHA-256 of it all:number of images:first 16 digits of the SHA-256 of each of the 256`.
    """
    total = len(images)
    digest = hashlib.sha256(f"{total} images\n".encode())
    pixels = np.ascontiguousarray(images.batch(spread(total, _FINGERPRINT_IMAGES)))
    digest.update(f"{pixels.dtype} {pixels.shape[1:]}\n".encode())
    digest.update(pixels.tobytes())
    if images.labels is not None:
        digest.update(b"labels\n")
        digest.update(np.ascontiguousarray(images.labels, dtype="<i8").tobytes())
    single = ",".join(hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels)
    return f"{digest.hexdigest()}:{total}:{single}"


def same_images(ours: str, theirs: str, *, stand_ins: Collection[int] = ()) -> bool:
    """Tell whether two fingerprints are of the same images.

    Args:
        ours: of the images at hand.
        theirs: of those it was made of before; earlier releases kept the first part alone.
        stand_ins: numbers of images at hand that stand in for others, so that they may differ.
    """
    whole, total, single = ours.split(":")
    before, *more = theirs.split(":")
    if whole == before or not stand_ins or len(more) != 2:
        return whole == before
    pairs = list(zip(single.split(","), more[1].split(","), strict=False))
    rows = spread(int(total), _FINGERPRINT_IMAGES).tolist()
    return total == more[0] and all(a == b for row, (a, b) in zip(rows, pairs, strict=False) if row not in stand_ins)


def golden_images(
    images: ImageSource, config: GlowConfig, *, count: int
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return evenly spread images as n_bits-deep pixels uint8 [n,C,H,W], and their labels int64 [n].

    No labels (None) for a model without classes; None altogether where `count` is 0.
    """
    if count == 0:
        return None
    chosen = spread(len(images), count)
    labels = images.labels if config.num_classes is not None else None
    return read_batch(images, chosen, config), None if labels is None else labels[chosen]
