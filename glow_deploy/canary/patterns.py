"""What each number format would make of the canary, computed in float64 from operands rounded as that format rounds.

A kernel that rounds its operands commits an error that is known to the last place: the products of rounded operands are
exact in float32, and what summing them adds is a thousand times smaller. So a result is compared with whole predicted
results, not only with their error's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .formats import FORMATS, MODES, Mode, flush, round_to
from .operands import KERNELS, Canary

__all__ = ["Pattern", "float32_error", "predict"]

_SIDES = ((False, "to nearest"), (True, "toward zero"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """One result that a number format may give.

    Attributes:
        mode: the format.
        rounding: how operands and result are rounded, in words; empty for exact ones.
        values: [n, out, H, W] float64.
    """

    mode: Mode
    rounding: str
    values: np.ndarray


@lru_cache(maxsize=len(KERNELS))
def predict(canary: Canary, kind: str) -> tuple[Pattern, ...]:
    """Every result that is told apart, the exact one (`fp32`) first, then each format rounding to nearest first.

    They are kept for the next backend, some megabytes.

    Hardware differs in how float32 operands get into a shorter format: libraries round them to nearest, tensor cores
    given unrounded ones drop the surplus bits, and weights and activations need not go the same way. Results of
    bfloat16 and float16 convolutions are usually rounded too; subnormal float16 activations may be flushed to zero.
    """
    found = tuple(_predict(canary, kind))
    for pattern in found:
        pattern.values.flags.writeable = False
    return found


def _predict(canary: Canary, kind: str) -> Iterator[Pattern]:
    weight = canary.weights[kind].astype(np.float64)
    kernel = weight.shape[2]
    images = canary.images.astype(np.float64)
    yield Pattern(mode="fp32", rounding="", values=_convolve(_columns(images, kernel), weight, images))
    for mode in MODES[1:]:
        number = FORMATS[mode]
        weights = [(words, round_to(weight, number, toward_zero=cut)) for cut, words in _SIDES]
        inputs = [(words, round_to(images, number, toward_zero=cut)) for cut, words in _SIDES]
        if number.lowest > -126:
            inputs.append(("to nearest, subnormals to zero", flush(inputs[0][1], number)))
        for x_words, rounded in inputs:
            columns = _columns(rounded, kernel)
            for w_words, rounded_weight in weights:
                values = _convolve(columns, rounded_weight, images)
                words = f"activations {x_words}, weights {w_words}"
                yield Pattern(mode=mode, rounding=words, values=values)
                if not number.wide_result:
                    yield Pattern(mode=mode, rounding=f"{words}, results to nearest", values=round_to(values, number))


def float32_error(canary: Canary, kind: str) -> float:
    """Relative rms error to expect of plain float32: one running sum of K products of random sign.

    The k-th partial sum is sqrt(k/K) of the result, and rounding it leaves an error with a mean square of u^2/6 of its
    own square, u = 2^-24; K such errors add up to u sqrt(K / 12). Blocked sums do better, transformed kernels
    (Winograd, FFT) worse.
    """
    products = canary.weights[kind][0].size
    return float(2.0**-24 * np.sqrt(products / 12))


def _columns(images: np.ndarray, kernel: int) -> np.ndarray:
    """[n, C, H, W] -> [n*H*W, C*k*k], zero padded."""
    pad = kernel // 2
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kernel * kernel)


def _convolve(columns: np.ndarray, weight: np.ndarray, images: np.ndarray) -> np.ndarray:
    n, _, height, width = images.shape
    values: np.ndarray = columns @ weight.reshape(len(weight), -1).T
    return values.reshape(n, height, width, len(weight)).transpose(0, 3, 1, 2)
