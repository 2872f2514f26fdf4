"""Integers that a convolution typed in 16 bit takes and gives: which there are, and how they are scaled.

A float16 or bfloat16 convolution that sums in float32 gives the exact sum, rounded once. Its operands must be numbers
of the type, and normal ones, for hardware may take a subnormal for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["FORMATS", "NarrowFormat", "NarrowNumber", "digits_of", "edge_kernel"]

NarrowNumber = Literal["bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class NarrowFormat:
    """A 16-bit format, and the scales that integers get in it.

    Attributes:
        number: its name.
        bits: of the significand: integers up to 2^bits are exact.
        lowest: exponent of the smallest normal number.
        largest: magnitude that no operand passes.
        input_shift: a convolution's inputs are fed divided by 2^input_shift, and its weights multiplied, so that both
            stay between `lowest` and `largest`.
        most_shift: of a convolution's sum: a weight of 1 must still be normal.
        largest_real: of weights and biases in units of the result; a channel of larger ones is taken in larger steps.
        largest_edge: of the kernels that make an edge, as integers and in units of the result: two digits hold it.
    """

    number: NarrowNumber
    bits: int
    lowest: int
    largest: float
    input_shift: int
    most_shift: int
    largest_real: float
    largest_edge: float

    def holds(self, values: np.ndarray) -> bool:
        """Whether every value is 0 or a normal number of the format, below its largest."""
        magnitudes = np.abs(np.asarray(values, dtype=np.float64)).ravel()
        magnitudes = magnitudes[magnitudes > 0]
        if not len(magnitudes):
            return True
        significands, exponents = np.frexp(magnitudes)  # in [0.5, 1)
        whole = significands * 2.0**self.bits
        fine = bool((whole == np.rint(whole)).all()) and int(exponents.min()) - 1 >= self.lowest
        return fine and float(magnitudes.max()) <= self.largest

    def rounded_bias(self, bias: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Round biases, integers in units of sums that are divided by 2^shift, to what the format holds.

        None grows beyond the next power of two.
        """
        exponent = np.floor(np.log2(np.maximum(np.abs(bias), 1))) - (self.bits - 1)
        unit = np.exp2(np.maximum(np.maximum(exponent, shift + self.lowest), 0))
        rounded: np.ndarray = (np.rint(bias / unit) * unit).astype(np.int64)
        return rounded


FORMATS: Mapping[NarrowNumber, NarrowFormat] = {
    # The shift of integers is never so large or so small that bfloat16, which has float32's exponents, would mind.
    "bf16": NarrowFormat(
        number="bf16",
        bits=8,
        lowest=-126,
        largest=2.0**127,
        input_shift=0,
        most_shift=40,
        largest_real=2.0**60,
        largest_edge=2.0**60,
    ),
    # 2^10 * 2^5 is the largest weight, and 2^-19 * 2^5 the smallest. A third digit's plane would be of 2^22 / 2^5.
    "fp16": NarrowFormat(
        number="fp16",
        bits=11,
        lowest=-14,
        largest=65504.0,
        input_shift=5,
        most_shift=19,
        largest_real=2.0**10,
        largest_edge=2.0**21,
    ),
}


def digits_of(values: np.ndarray, bits: int) -> list[np.ndarray]:
    """Split integers into digits of `bits` bits, the lowest first: values = sum of digit * 2^(bits * place).

    Digits are from -2^(bits-1) to 2^(bits-1).
    """
    digits: list[np.ndarray] = []
    rest = values.astype(np.int64)
    while not digits or rest.any():
        high = np.rint(rest / 2.0**bits).astype(np.int64)
        digits.append(rest - high * 2**bits)
        rest = high
    return digits


# From what is wanted in the first, an inner and the last row to a kernel's three taps: the first row is met by the last
# two taps, an inner one by all, the last by the first two. Of two rows none is inner; one row meets the middle tap.
_TAPS: Mapping[int, np.ndarray] = {
    1: np.array([[0], [1], [0]]),
    2: np.array([[0, 1], [0, 0], [1, 0]]),
    3: np.array([[-1, 1, 0], [1, -1, 1], [0, 1, -1]]),
}


def edge_kernel(edge: np.ndarray) -> np.ndarray:
    """Return the 3x3 kernels that make of a plane of ones, zero padded, what an edge adds.

    Args:
        edge: [out,min(H,3),min(W,3)], as in `IntegerConv`.

    Returns:
        [out,3,3], int64 of integers.
    """
    kernel: np.ndarray = _TAPS[edge.shape[1]] @ edge @ _TAPS[edge.shape[2]].T
    return kernel
