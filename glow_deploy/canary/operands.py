"""The canary's two convolutions: operands made so that every way of rounding them leaves a trace of its own.

All mantissas are full (24 significant bits, the last one set), so that any shorter format has to round, and never meets
a tie. TF32 and float16 store equally many mantissa bits; what tells them apart is the range. In the first half of the
input channels activations lie around 2^-21 and weights around 2^14: the products are as large as those of the second
half (2^-7 and 2^0), but float16 keeps only two bits of such activations, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["BATCH", "CHANNELS", "KERNELS", "SIZE", "Canary", "make_canary"]

# Large enough that a GPU library, left to choose, takes its tensor-core kernels.
BATCH = 32
CHANNELS = 128
SIZE = 16

KERNELS: dict[str, int] = {"1x1": 1, "3x3": 3}
"""The kinds of convolution in a Glow, by name: kernel size."""

_IMAGES = 2  # different ones in the batch; the float64 predictions are made for these alone
_SMALL_X, _SMALL_W = -22, 14  # exponents in the first half of the channels; 2^15 is still below float16's 65504
_X, _W = -8, 0  # in the second half: the same product


@dataclass(frozen=True, kw_only=True, eq=False)
class Canary:
    """Operands of the two convolutions, which read the same input and give half of the output channels each.

    Attributes:
        images: [2, 128, 16, 16] float32.
        weights: by kind (`KERNELS`): [64, 128, k, k] float32. The biases are zero.
    """

    images: np.ndarray
    weights: Mapping[str, np.ndarray]

    @property
    def x(self) -> np.ndarray:
        """What is fed: the images over and over, [32, 128, 16, 16] float32."""
        return np.tile(self.images, (BATCH // len(self.images), 1, 1, 1))


@lru_cache(maxsize=2)
def make_canary(*, seed: int = 0) -> Canary:
    """Draw the operands. The same seed gives the same bits on every platform and with every NumPy."""
    # The raw stream of a bit generator is guaranteed never to change; that of Generator's methods is not (NEP 19).
    stream = np.random.PCG64(seed)
    half = CHANNELS // 2
    images = _full(stream, (_IMAGES, CHANNELS, SIZE, SIZE))
    images[:, :half] *= np.float32(2.0**_SMALL_X)
    images[:, half:] *= np.float32(2.0**_X)
    weights = {}
    for kind, kernel in KERNELS.items():
        weight = _full(stream, (half, CHANNELS, kernel, kernel))
        weight[:, :half] *= np.float32(2.0**_SMALL_W)
        weight[:, half:] *= np.float32(2.0**_W)
        weights[kind] = weight
    for array in (images, *weights.values()):
        array.flags.writeable = False  # every caller gets the same ones
    return Canary(images=images, weights=weights)


def _full(stream: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [1, 2) of either sign: random mantissas with the last bit set, put together bit by bit."""
    raw = stream.random_raw(int(np.prod(shape)))
    mantissa = (raw & np.uint64(0x7FFFFF)).astype(np.uint32) | np.uint32(1)
    sign = (raw >> np.uint64(63)).astype(np.uint32) << np.uint32(31)
    return (mantissa | np.uint32(0x3F800000) | sign).view(np.float32).reshape(shape)
