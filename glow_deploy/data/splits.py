"""Which images are for training, for validation and for testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from .image_set import ImageSet

__all__ = ["SPLITS", "Split", "held_out", "named_split", "take_split"]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_SEED = 0
_SHARE = 10  # one in ten is held out


def held_out(count: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the tenth that is held out of `count` images, at least one of two; fixed by a seed."""
    if count < 2:
        return np.arange(0, dtype=np.int64)
    order = np.random.default_rng(_SEED).permutation(count)
    return np.sort(order[: max(1, count // _SHARE)])


def take_split(images: ImageSet, split: Split) -> ImageSet:
    """Divide a set that knows no splits: a tenth for validation, the rest for training; `test` is everything.

    Everything, because images that are handed over to be tested are meant to be tested.
    """
    if split == "test":
        return replace(images, undivided=True)
    apart = held_out(len(images))
    if split == "validation":
        return images.select(apart if len(apart) else np.arange(len(images)))
    return images.select(np.setdiff1d(np.arange(len(images)), apart))


def named_split(split: Split, parts: Mapping[Split, Callable[[], ImageSet]]) -> ImageSet | None:
    """Choose among the splits that a set names itself.

    Without a validation split the training images are divided by `take_split`; without a test split the validation
    images serve. So no image is ever in two of them.

    Args:
        split: the one asked for.
        parts: opens each split that is there.

    Returns:
        The images, or None where nothing can stand for the split.
    """
    if split == "test":
        return parts["test"]() if "test" in parts else named_split("validation", parts)
    if "validation" in parts:
        return parts[split]() if split in parts else None
    return take_split(parts["train"](), split) if "train" in parts else None
