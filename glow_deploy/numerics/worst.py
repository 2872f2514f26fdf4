"""The images that come back worst, kept with their reconstruction so that a person can look at them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["WorstImage", "WorstImages"]


@dataclass(frozen=True, kw_only=True, eq=False)
class WorstImage:
    """One image and what came back of it.

    Attributes:
        images: name of the image set.
        index: row of the image in that set.
        encode: backend that made the latents.
        decode: backend that decoded them.
        error_steps: largest |x_hat - x| of its values, in pixel steps; infinite where a value is not finite.
        non_finite: values of x_hat that are NaN or infinite.
        x: the image, float32 [C, H, W].
        x_hat: the reconstruction, float32 [C, H, W], not clamped.
    """

    images: str
    index: int
    encode: str
    decode: str
    error_steps: float
    non_finite: int
    x: np.ndarray
    x_hat: np.ndarray


class WorstImages:
    """Keeps the `keep` worst images of one cell over all batches, and forgets the others.

    An image with a non-finite value is worse than any without; of two such, the one with more of them; then the
    largest error counts, and of equals the first image.

    Args:
        keep: how many, at least 1.
        images: name of the image set.
        encode: backend that makes the latents.
        decode: backend that decodes them.
        n_bits: of the model.

    Raises:
        ValueError: `keep` is below 1.
    """

    def __init__(self, keep: int, *, images: str, encode: str, decode: str, n_bits: int) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one image must be kept")
        self._keep = keep
        self._images = images
        self._encode = encode
        self._decode = decode
        self._steps = 2.0**n_bits
        self._kept: list[WorstImage] = []

    def add(self, x_hat: np.ndarray, x: np.ndarray, *, first: int) -> None:
        """Look at one batch.

        Args:
            x_hat: reconstructions [N, C, H, W] of any float type.
            x: the images, the same shape.
            first: index of the batch's first image in the whole set.

        Raises:
            ValueError: the shapes differ or are not [N, C, H, W].
        """
        if x_hat.shape != x.shape or x.ndim != 4:
            raise ValueError(f"cannot compare {x_hat.shape} with {x.shape}; both must be [N, C, H, W]")
        if x.size == 0:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(np.asarray(x_hat, dtype=np.float64) - np.asarray(x, dtype=np.float64)) * self._steps
        rows = error.reshape(len(error), -1)
        bad = np.count_nonzero(~np.isfinite(rows), axis=1)
        largest = np.where(bad > 0, math.inf, rows.max(axis=1))
        # The last key sorts first. Stable, so that of equals the first image stays in front.
        order = np.lexsort((np.arange(len(rows)), -largest, -bad))[: self._keep]
        found = [
            self._image(x_hat[row], x[row], index=first + int(row), error=float(largest[row]), bad=int(bad[row]))
            for row in order
        ]
        both = [*self._kept, *found]
        both.sort(key=lambda image: (-image.non_finite, -image.error_steps, image.index))
        self._kept = both[: self._keep]

    def images(self) -> tuple[WorstImage, ...]:
        """Return those kept so far, worst first."""
        return tuple(self._kept)

    def _image(self, x_hat: np.ndarray, x: np.ndarray, *, index: int, error: float, bad: int) -> WorstImage:
        # Copies: a view would keep the whole batch in memory. A float64 value beyond float32 becomes infinite.
        with np.errstate(over="ignore"):
            return WorstImage(
                images=self._images,
                index=index,
                encode=self._encode,
                decode=self._decode,
                error_steps=error,
                non_finite=bad,
                x=x.astype(np.float32, copy=True),
                x_hat=x_hat.astype(np.float32, copy=True),
            )
