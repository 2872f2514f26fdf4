"""Where the images of a verification come from, batch by batch, with the float64 reference where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from glow_deploy.data import LeftOut
from glow_deploy.errors import BundleError, DataError

__all__ = ["ImageBatch", "Images", "TrueValues", "check_bin_centres"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueValues:
    """What the trained model makes of N images in float64.

    Attributes:
        z: latents, z1 first, float64 [N, C, H, W].
        log_prob: nats, float64 [N].
        x_hat: reconstruction, float64 [N, C, H, W].
    """

    z: tuple[np.ndarray, ...]
    log_prob: np.ndarray
    x_hat: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageBatch:
    """Images at bin centres.

    Attributes:
        first: index of the first image in the whole set.
        x: float32 [N, C, H, W].
        y: class labels, int64 [N], for class-conditional models.
        reference: None where it has to be computed, or cannot be.
    """

    first: int
    x: np.ndarray
    y: np.ndarray | None
    reference: TrueValues | None

    def head(self, n: int) -> ImageBatch:
        """Return the first n of them, or none where n is not positive."""
        n, reference = max(n, 0), self.reference
        return ImageBatch(
            first=self.first,
            x=self.x[:n],
            y=None if self.y is None else self.y[:n],
            reference=None
            if reference is None
            else TrueValues(
                z=tuple(part[:n] for part in reference.z), log_prob=reference.log_prob[:n], x_hat=reference.x_hat[:n]
            ),
        )


class Images:
    """A set of images of known size that can be walked through more than once.

    Args:
        name: short name for tables.
        description: where they come from, as in "64 images of ..."; how many classes there are among them is added.
        count: number of images.
        read: gives the images of the row numbers asked for, float32 [n, C, H, W] at bin centres. Called a batch at a
            time, so that a large set need not be in memory.
        y: labels [count].
        reference: for all images.
        notes: what was decided about them, one sentence each.
        left_out: pictures that could not be read and are none of them.

    Raises:
        DataError: there is no image.
    """

    def __init__(
        self,
        *,
        name: str,
        description: str,
        count: int,
        read: Callable[[np.ndarray], np.ndarray],
        y: np.ndarray | None = None,
        reference: TrueValues | None = None,
        notes: tuple[str, ...] = (),
        left_out: tuple[LeftOut, ...] = (),
    ) -> None:
        if count < 1:
            raise DataError(f"no {name} images {description}: there is nothing to verify on")
        self.name = name
        self.notes, self.left_out = notes, left_out
        self.description = description if y is None else f"{description}, {_classes(y)}"
        self._count = count
        self._read = read
        self._y = y
        self._reference = reference

    def __len__(self) -> int:
        return self._count

    def batches(self, size: int) -> Iterator[ImageBatch]:
        """Walk through the images in order, `size` at a time; the last batch may be smaller."""
        for first in range(0, self._count, size):
            rows = np.arange(first, min(first + size, self._count))
            reference = self._reference
            yield ImageBatch(
                first=first,
                x=self._read(rows),
                y=None if self._y is None else self._y[rows],
                reference=None
                if reference is None
                else TrueValues(
                    z=tuple(part[rows] for part in reference.z),
                    log_prob=reference.log_prob[rows],
                    x_hat=reference.x_hat[rows],
                ),
            )


def _classes(y: np.ndarray) -> str:
    count = len(np.unique(y))
    return f"{count} class{'' if count == 1 else 'es'}"


def check_bin_centres(x: np.ndarray, *, n_bits: int, where: str) -> None:
    """Refuse images that are not exactly at bin centres: the exactness of their pixels would mean nothing.

    Raises:
        BundleError: some are not.
    """
    steps = np.asarray(x, dtype=np.float64) * 2.0**n_bits - 0.5
    inside = np.isfinite(steps) & (steps == np.rint(steps)) & (steps >= 0) & (steps <= 2**n_bits - 1)
    if not inside.all():
        raise BundleError(
            f"{where}: {int((~inside).sum())} values are not centres of {n_bits}-bit bins; export the bundle again"
        )
