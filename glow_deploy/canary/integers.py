"""A canary of exact integers: three convolutions whose every result is known, so that it is equal or it is not.

Exact graphs rest on convolutions of integers that are summed in float32, each product by itself. What breaks that shows
here in small, and each way leaves a trace of its own:

- `1x1` and `3x3` have operands that TF32 and float16 hold, most of them bfloat16 too. In the first half of the output
  channels all products are positive and sums pass 2^23, where float32 has no digit to spare: the products of sums that
  Winograd's and Fourier's ways add up do not fit any more. In the second half sums stay below 65,504, float16's
  largest, and beyond 2,048, from where it has no room for every integer.
- `wide` has weights of sixteen bits, one for each output channel: TF32 rounds them. Those of the second half are beyond
  float16's largest, which rounds the first half as TF32 does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["BATCH", "CHANNELS", "PROBES", "SIZE", "IntegerCanary", "convolve", "make_integers"]

# Large enough that a GPU library, left to choose, takes its tensor-core kernels.
BATCH = 32
CHANNELS = 96
SIZE = 16

PROBES: Mapping[str, int] = {"1x1": 1, "3x3": 3, "wide": 1}
"""By name: kernel size. Each gives a third of the output channels."""

_IMAGES = 2  # different ones in the batch
_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerCanary:
    """Operands of the convolutions, which all read the same input.

    Attributes:
        images: [2, 96, 16, 16] float32, integers from 128 to 255.
        weights: by probe: [32, 96, k, k] float32, integers. The biases are zero.
        results: by probe: [2, 32, 16, 16] float64, exact.
    """

    images: np.ndarray
    weights: Mapping[str, np.ndarray]
    results: Mapping[str, np.ndarray]

    @property
    def x(self) -> np.ndarray:
        """What is fed: the images over and over, [32, 96, 16, 16] float32."""
        return np.tile(self.images, (BATCH // len(self.images), 1, 1, 1))


@lru_cache(maxsize=1)
def make_integers() -> IntegerCanary:
    """Draw the operands. They are the same on every platform and with every NumPy."""
    # The raw stream of a bit generator is guaranteed never to change; that of Generator's methods is not (NEP 19).
    stream = np.random.PCG64(_SEED)
    each = CHANNELS // len(PROBES)
    half = each // 2
    images = _between(stream, 128, 255, (_IMAGES, CHANNELS, SIZE, SIZE))
    small3 = np.zeros((half, CHANNELS * 9), dtype=np.int64)
    for row in small3:
        row[_between(stream, 0, CHANNELS * 9 - 1, (240,))] = 1  # 240 * 255 is below float16's largest
    wide = np.zeros((each, CHANNELS), dtype=np.int64)
    places = _between(stream, 0, CHANNELS - 1, (each,))
    wide[np.arange(each), places] = _between(stream, 2**15, 2**16 - 1, (each,)) | 1
    wide[half:] *= 2**4  # a power of two: results have no more bits than before
    weights = {
        # However they are summed: 96 * 680 * 255 and 864 * 76 * 255 are just below 2^24.
        "1x1": np.concatenate(
            (_between(stream, 512, 680, (half, CHANNELS, 1, 1)), _between(stream, 1, 2, (half, CHANNELS, 1, 1)))
        ),
        "3x3": np.concatenate((_between(stream, 40, 76, (half, CHANNELS, 3, 3)), small3.reshape(half, CHANNELS, 3, 3))),
        "wide": wide[:, :, None, None],
    }
    results = {name: convolve(images, weight) for name, weight in weights.items()}
    single = {name: weight.astype(np.float32) for name, weight in weights.items()}
    narrow = images.astype(np.float32)
    for array in (narrow, *single.values(), *results.values()):
        array.flags.writeable = False  # every caller gets the same ones
    return IntegerCanary(images=narrow, weights=single, results=results)


def convolve(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolve in float64, zero padded: exact for these integers.

    Args:
        images: [n,C,H,W].
        weight: [out,C,k,k].

    Returns:
        [n,out,H,W] float64.
    """
    n, channels, height, width = images.shape
    size = weight.shape[2]
    pad = size // 2
    padded = np.pad(images.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * size * size)
    flat = columns @ weight.reshape(len(weight), -1).T.astype(np.float64)
    values: np.ndarray = flat.reshape(n, height, width, len(weight)).transpose(0, 3, 1, 2)
    return values


def _between(stream: np.random.PCG64, least: int, most: int, shape: tuple[int, ...]) -> np.ndarray:
    """Integers from `least` to `most`, int64."""
    raw = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
    values: np.ndarray = (least + raw % np.uint64(most - least + 1)).astype(np.int64).reshape(shape)
    return values
