"""A set of images of one size, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError

__all__ = ["ImageSet"]

Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images by number, with their labels and attributes if there are any.

    Attributes:
        description: where the images come from, in words.
        shape: (C, H, W) of every image.
        count: number of images.
        read: gives the 8-bit values of the images asked for, uint8 [n,C,H,W]. Pictures in folders and of the hub are
            decoded then; .npz and IDX files are in memory whole, as they are stored.
        labels: class of every image, int64 [count], or None.
        class_names: of class 0, 1, ..., if the set names them; other splits of the set may hold some that are not here.
        attributes: bool [count, K], or None.
        attribute_names: the K names.
        undivided: these were asked for as test images, but the set names no splits, so all of it is here.
    """

    description: str
    shape: tuple[int, int, int]
    count: int
    read: Callable[[Indices], Values]
    labels: npt.NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    attribute_names: tuple[str, ...] = ()
    undivided: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"{self.description}: there are no images")
        if self.labels is not None and self.labels.shape != (self.count,):
            raise DataError(f"{self.description}: {len(self.labels)} labels for {self.count} images")
        if self.labels is not None and self.class_names and int(self.labels.max()) >= len(self.class_names):
            raise DataError(
                f"{self.description}: labels go up to {int(self.labels.max())}, and {len(self.class_names)} classes "
                "have names"
            )
        if self.attributes is not None and self.attributes.shape != (self.count, len(self.attribute_names)):
            wanted = [self.count, len(self.attribute_names)]
            raise DataError(
                f"{self.description}: attributes have the shape {list(self.attributes.shape)}, not {wanted}"
            )

    def __len__(self) -> int:
        return self.count

    @property
    def num_classes(self) -> int | None:
        """K of labels 0 .. K-1: as many as have names, or as the largest label asks for. None without labels."""
        return None if self.labels is None else len(self.class_names) or int(self.labels.max()) + 1

    def labels_for(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Return the labels, int64 [count], for a model of so many classes.

        Raises:
            DataError: there are none, or some are no classes of the model.
        """
        if self.labels is None:
            raise DataError(
                f"{self.description}: no class labels in it; this model is conditioned on {num_classes} classes"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= num_classes:
            raise DataError(
                f"{self.description}: class labels lie in {low}..{high}, the model knows 0..{num_classes - 1}; "
                "give the images that the model was trained on, or others like them"
            )
        return self.labels

    def batch(self, indices: npt.ArrayLike) -> Values:
        """Return the 8-bit picture values of these images, uint8 [n,C,H,W].

        Raises:
            DataError: an image cannot be read or does not fit.
        """
        return self.read(np.asarray(indices, dtype=np.int64))

    def select(self, rows: npt.ArrayLike) -> ImageSet:
        """Return the images of these numbers, in this order, as a set of their own."""
        chosen = np.asarray(rows, dtype=np.int64)
        whole = self.read
        return ImageSet(
            description=self.description,
            shape=self.shape,
            count=len(chosen),
            read=lambda indices: whole(chosen[indices]),
            labels=None if self.labels is None else self.labels[chosen],
            class_names=self.class_names,
            attributes=None if self.attributes is None else self.attributes[chosen],
            attribute_names=self.attribute_names,
            undivided=self.undivided,
        )
