"""The number formats that a convolution's operands may be rounded to, and that rounding itself, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["FORMATS", "MODES", "Mode", "NumberFormat", "flush", "round_to"]

Mode = Literal["fp32", "tf32", "bf16", "fp16"]

MODES: tuple[Mode, ...] = ("fp32", "tf32", "bf16", "fp16")
"""From the most to the least precise on the canary's operands, part of which lie below float16's normal range."""


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """A binary floating-point format.

    Attributes:
        bits: of the mantissa that are stored; the leading one is not counted.
        lowest: exponent of the smallest normal number.
        wide_result: products are summed and given as float32, whatever the operands are.
    """

    bits: int
    lowest: int
    wide_result: bool


FORMATS: dict[Mode, NumberFormat] = {
    "tf32": NumberFormat(bits=10, lowest=-126, wide_result=True),
    "bf16": NumberFormat(bits=7, lowest=-126, wide_result=False),
    "fp16": NumberFormat(bits=10, lowest=-14, wide_result=False),
}


def round_to(values: np.ndarray, number: NumberFormat, *, toward_zero: bool = False) -> np.ndarray:
    """Round to a format, to nearest even unless told otherwise; overflow is not modelled.

    Args:
        values: float64 (or exactly convertible to it).
        number: the format. Below `lowest` the spacing stays what it is at `lowest` (subnormal numbers).
        toward_zero: drop the surplus bits, as tensor cores do with float32 operands that were not rounded before.

    Returns:
        float64 of the same shape.
    """
    values = np.asarray(values, dtype=np.float64)
    _, exponent = np.frexp(values)  # |values| in [2^(exponent - 1), 2^exponent)
    spacing = np.maximum(exponent - 1, number.lowest) - number.bits
    scaled = np.ldexp(values, -spacing)
    rounded: np.ndarray = np.ldexp(np.trunc(scaled) if toward_zero else np.rint(scaled), spacing)
    return rounded


def flush(values: np.ndarray, number: NumberFormat) -> np.ndarray:
    """Replace what a format holds only as a subnormal number by zero, as some hardware does."""
    return np.where(np.abs(values) < 2.0**number.lowest, 0.0, values)
