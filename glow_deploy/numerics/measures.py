"""Error figures over many images, gathered batch by batch in float64 and in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .statistics import CONFIDENCE, failure_rate_bound

__all__ = [
    "ErrorAccumulator",
    "ErrorSummary",
    "Exactness",
    "ExactnessAccumulator",
    "half_bin",
    "summarize",
]

# Quantiles come from a histogram of |error| keyed by the leading bits of the float64: the exponent and 7 bits of the
# mantissa, so a bin is at most 2^-7 = 0.8 % wide. It is the same whatever the batches were, and 2.5e5 bytes whatever
# the number of values (10,000 images of 64x64x3 hold 1.2e8).
_MANTISSA_BITS = 7
_SHIFT = 52 - _MANTISSA_BITS
_LOWEST = int(np.float64(2.0**-120).view(np.int64)) >> _SHIFT
_HIGHEST = int(np.float64(2.0**128).view(np.int64)) >> _SHIFT


def half_bin(n_bits: int) -> float:
    """Half the width of a pixel's bin, in units of x: an error below it leaves a bin centre in its bin."""
    return 2.0 ** -(n_bits + 1)


@dataclass(frozen=True, kw_only=True)
class ErrorSummary:
    """What the differences between two arrays of values amount to.

    Attributes:
        n: values compared, the non-finite ones included.
        non_finite: differences that are NaN or infinite. The figures below leave them out, so look here first.
        max: largest |difference|.
        p999: 99.9th percentile of |difference|, rounded up by at most 0.8 %; of fewer than 1,000 values, the maximum.
        rms: root mean square of the difference.
        mean: mean difference, with its sign.
        scale: rms of the values that were expected.
        slope: least-squares slope of the values obtained on those expected: 1 for a copy, 0 where the value was
            dropped, T where a temperature T was applied once too often.
        worst: (image, ...position) of the largest |difference|, or of the first non-finite one.
    """

    n: int
    non_finite: int
    max: float
    p999: float
    rms: float
    mean: float
    scale: float
    slope: float
    worst: tuple[int, ...]

    @property
    def finite(self) -> bool:
        """True when every difference is a finite number and there is at least one."""
        return self.n > 0 and self.non_finite == 0

    def to_dict(self, *, unit: str) -> dict[str, Any]:
        """For the JSON report; figures that do not exist (no finite difference) are null."""
        figures = {name: getattr(self, name) for name in ("max", "p999", "rms", "mean", "scale", "slope")}
        return {
            "unit": unit,
            "n": self.n,
            "non_finite": self.non_finite,
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "worst": list(self.worst),
        }


class ErrorAccumulator:
    """Adds up differences between arrays [N, ...], image by image, and forgets the arrays."""

    def __init__(self) -> None:
        self._n = 0
        self._non_finite = 0
        self._bad = 0
        self._sums = np.zeros(5)  # error, error^2, expected^2, expected * obtained, finite values
        self._max = -1.0
        self._worst: tuple[int, ...] = ()
        self._histogram = np.zeros(_HIGHEST - _LOWEST + 1, dtype=np.int64)

    def add(self, obtained: np.ndarray, expected: np.ndarray, *, first: int) -> None:
        """Compare one batch.

        Args:
            obtained: [N, ...] of any float type.
            expected: the same shape.
            first: index of the batch's first image in the whole set.

        Raises:
            ValueError: the shapes differ; broadcasting would hide a missing row.
        """
        if obtained.shape != expected.shape:
            raise ValueError(f"cannot compare {obtained.shape} with {expected.shape}")
        if obtained.size == 0:
            return
        got = np.asarray(obtained, dtype=np.float64)
        want = np.asarray(expected, dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = got - want
        good = np.isfinite(error)
        bad = int(error.size - np.count_nonzero(good))
        if bad and not self._non_finite:
            self._worst = _position(int(np.argmax(~good)), error.shape, first)
        self._n += error.size
        self._non_finite += bad
        if bad:
            error, got, want = error[good], got[good], want[good]
            if error.size == 0:
                return
        flat = np.abs(error).ravel()
        top = int(flat.argmax())
        if flat[top] > self._max:
            self._max = float(flat[top])
            if not self._non_finite:
                self._worst = _position(top, obtained.shape, first)
        with np.errstate(over="ignore"):
            self._sums += (
                float(error.sum()),
                float(np.square(error).sum()),
                float(np.square(want).sum()),
                float((want * got).sum()),
                error.size,
            )
        keys = np.clip((flat.view(np.int64) >> _SHIFT) - _LOWEST, 0, _HIGHEST - _LOWEST)
        self._histogram += np.bincount(keys, minlength=self._histogram.size)

    def summary(self) -> ErrorSummary:
        """The figures so far; NaN where no finite difference was seen."""
        error, square, want, cross, count = (float(v) for v in self._sums)
        if count == 0:
            nan = math.nan
            return ErrorSummary(
                n=self._n, non_finite=self._non_finite, max=nan, p999=nan, rms=nan, mean=nan, scale=nan, slope=nan,
                worst=self._worst,
            )  # fmt: skip
        return ErrorSummary(
            n=self._n,
            non_finite=self._non_finite,
            max=self._max,
            p999=self._quantile(0.999),
            rms=math.sqrt(square / count),
            mean=error / count,
            scale=math.sqrt(want / count),
            slope=cross / want if want > 0.0 else math.nan,
            worst=self._worst,
        )

    def _quantile(self, q: float) -> float:
        cumulative = np.cumsum(self._histogram)
        rank = math.ceil(q * int(cumulative[-1]))
        key = int(np.searchsorted(cumulative, rank)) + _LOWEST
        edge = float(np.int64((key + 1) << _SHIFT).view(np.float64))
        return min(edge, self._max)


def summarize(obtained: np.ndarray, expected: np.ndarray) -> ErrorSummary:
    """`ErrorSummary` of two arrays [N, ...] that are in memory already."""
    accumulator = ErrorAccumulator()
    accumulator.add(obtained, expected, first=0)
    return accumulator.summary()


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """How many pixels and images come back exactly, at n_bits.

    Attributes:
        images: images looked at.
        images_exact: of which every pixel is within half a bin.
        pixels: values looked at (C*H*W an image).
        pixels_exact: of which within half a bin; a non-finite value never is.
        worst_image: index of the image with most pixels lost, None if none lost any.
    """

    images: int
    images_exact: int
    pixels: int
    pixels_exact: int
    worst_image: int | None

    @property
    def image_rate(self) -> float:
        """Share of images that come back exactly."""
        return self.images_exact / self.images

    @property
    def pixel_rate(self) -> float:
        """Share of pixels that come back exactly."""
        return self.pixels_exact / self.pixels

    @property
    def bound(self) -> float:
        """95 % upper bound of the rate of images that do not come back exactly."""
        return failure_rate_bound(self.images - self.images_exact, self.images)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "images": self.images,
            "images_exact": self.images_exact,
            "image_rate": self.image_rate,
            "image_failure_bound": self.bound,
            "confidence": CONFIDENCE,
            "pixels": self.pixels,
            "pixels_exact": self.pixels_exact,
            "pixel_rate": self.pixel_rate,
            "worst_image": self.worst_image,
        }


class ExactnessAccumulator:
    """Counts exact pixels and images, batch by batch."""

    def __init__(self, n_bits: int) -> None:
        self._limit = half_bin(n_bits)
        self._images = self._images_exact = self._pixels = self._pixels_exact = 0
        self._most_lost = 0
        self._worst: int | None = None

    def add(self, x_hat: np.ndarray, x: np.ndarray, *, first: int) -> None:
        """Count one batch [N, C, H, W] of reconstructions of images at bin centres; `first` is their first index."""
        if x_hat.shape != x.shape:
            raise ValueError(f"cannot compare {x_hat.shape} with {x.shape}")
        with np.errstate(invalid="ignore"):
            exact = np.abs(x_hat.astype(np.float64) - x.astype(np.float64)) < self._limit
        lost = np.count_nonzero(~exact.reshape(len(exact), -1), axis=1)
        self._images += len(exact)
        self._images_exact += int(np.count_nonzero(lost == 0))
        self._pixels += exact.size
        self._pixels_exact += exact.size - int(lost.sum())
        if len(lost) and int(lost.max()) > self._most_lost:
            self._most_lost = int(lost.max())
            self._worst = first + int(lost.argmax())

    def summary(self) -> Exactness:
        """The counts so far.

        Raises:
            ValueError: nothing was counted; a rate of nothing is no pass.
        """
        if self._images == 0:
            raise ValueError("no image was compared")
        return Exactness(
            images=self._images,
            images_exact=self._images_exact,
            pixels=self._pixels,
            pixels_exact=self._pixels_exact,
            worst_image=self._worst,
        )


def _position(flat: int, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    index = np.unravel_index(flat, shape)
    return (first + int(index[0]), *(int(i) for i in index[1:]))
