"""From a canary's result to the number format that it was computed in.

A result is compared with every result that a format could give (`patterns.predict`), and the nearest format is the one
detected, if it is much nearer than any other. That is stricter than looking at the size of the error, or at its
correlation with a predicted error: to be called TF32, a result must lie where rounding these operands to 10 bits puts
it. A noisy float32 kernel has errors of its own that do not point there, however large they are; it is called float32
as long as its error is nearer to float32's than to TF32's (in log scale), and unknown beyond.

What it cannot say: the canary shows what a backend does with a float32 graph, at the settings it is given, in
convolutions of this size. A library may choose another kernel for another shape, and emulations of float32 by several
narrow products count as float32 if they are as exact. Of a bundle in mixed precision it says what becomes of the
convolutions that stay in float32. For the model itself the matrix of errors is the proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .formats import MODES, Mode
from .operands import BATCH, CHANNELS, KERNELS, SIZE, Canary, make_canary
from .patterns import Pattern, float32_error, predict
from .report import CanaryResult, ConvolutionResult, Detected

__all__ = ["LEAST_MARGIN", "Runner", "detect"]

Runner = Callable[[np.ndarray], np.ndarray]
"""Runs the canary's graph: [32, 128, 16, 16] float32 -> the same shape."""

LEAST_MARGIN = 4.0
"""How many times nearer than any other format the detected one must be; the correlation of the error with the predicted
one is then above 0.96."""


def detect(run: Runner, *, canary: Canary | None = None) -> CanaryResult:
    """Run the canary once and tell what its convolutions were computed in.

    Args:
        run: computes the canary's graph on one batch; what it raises is passed on.
        canary: the operands that `run` has the weights of; None for `make_canary()`.

    Returns:
        What was detected; `unknown`, with the reason, where the result is not finite, of the wrong shape or type, or
        not what any known format would give.
    """
    canary = canary or make_canary()
    result = run(canary.x)
    problem = _problem(result)
    half = CHANNELS // 2
    found = {}
    for index, kind in enumerate(KERNELS):
        patterns = predict(canary, kind)
        expected = _expected(patterns, float32_error(canary, kind))
        if problem:
            found[kind] = ConvolutionResult(
                detected="unknown", error=math.nan, expected=expected, distance={}, margin=math.nan, reason=problem
            )
        else:
            part = result[:, index * half : (index + 1) * half].astype(np.float64)
            found[kind] = _compare(part, patterns, expected)
    return CanaryResult(convolutions=found)


def _problem(result: object) -> str:
    """Why a result cannot be compared at all; empty where it can."""
    wanted = (BATCH, CHANNELS, SIZE, SIZE)
    if not isinstance(result, np.ndarray) or result.shape != wanted or result.dtype.kind != "f":
        got = f"{result.dtype} {list(result.shape)}" if isinstance(result, np.ndarray) else type(result).__name__
        return f"the result is {got} where float32 {list(wanted)} is due"
    bad = int(np.count_nonzero(~(np.abs(result) <= np.finfo(np.float32).max)))
    return f"{bad} of {result.size} values are not finite in float32" if bad else ""


def _expected(patterns: tuple[Pattern, ...], float32: float) -> dict[Mode, float]:
    """The relative rms error of each format, from its first pattern: everything rounded to nearest."""
    exact = patterns[0].values
    expected: dict[Mode, float] = {"fp32": float32}
    for pattern in patterns:
        expected.setdefault(pattern.mode, _relative(_mean_square(pattern.values - exact), exact))
    return expected


def _compare(result: np.ndarray, patterns: tuple[Pattern, ...], expected: dict[Mode, float]) -> ConvolutionResult:
    """Find the pattern that is nearest to one convolution's result [32, 64, H, W], float64."""
    exact = patterns[0].values
    copies = result.reshape(-1, *exact.shape)
    mean = copies.mean(axis=0)
    spread = _mean_square(copies - mean)  # between copies of the same image: no pattern has any of it
    distance: dict[Mode, float] = {}
    rounding: dict[Mode, str] = {}
    for pattern in patterns:
        apart = _relative(_mean_square(mean - pattern.values) + spread, exact)
        if pattern.mode not in distance or apart < distance[pattern.mode]:
            distance[pattern.mode], rounding[pattern.mode] = apart, pattern.rounding
    nearest, second = sorted(MODES, key=lambda mode: distance[mode])[:2]
    # Operands of few bits can be summed without any error at all: below float32's own rounding all is equally near.
    margin = distance[second] / max(distance[nearest], 2.0**-24)
    error = distance["fp32"]
    reason = _doubt(nearest, error=error, margin=margin, expected=expected)
    detected: Detected = "unknown" if reason else nearest
    return ConvolutionResult(
        detected=detected,
        error=error,
        expected=expected,
        distance=distance,
        margin=margin,
        rounding=rounding[nearest],
        reason=reason,
    )


def _doubt(nearest: Mode, *, error: float, margin: float, expected: dict[Mode, float]) -> str:
    """Why the nearest format is not to be believed; empty where it is."""
    large = f"an error of {error:.1e}, where float32 makes {expected['fp32']:.1e}, follows no known rounding"
    if margin < LEAST_MARGIN:
        return f"{large} (nearest: {nearest}, only {margin:.1f} times nearer than the next)"
    if nearest == "fp32" and error > math.sqrt(expected["fp32"] * expected["tf32"]):
        return large
    return ""


def _mean_square(values: np.ndarray) -> float:
    return float(np.mean(np.square(values)))


def _relative(mean_square: float, exact: np.ndarray) -> float:
    return math.sqrt(mean_square / _mean_square(exact))
