"""The linear part of every step, actnorm and 1x1 convolution, as shears of real numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glow_deploy.errors import UsageError
from glow_deploy.folding import FoldedGlow
from glow_deploy.folding.arrays import step_path

from .arrays import ACCUMULATOR
from .shears import factor

__all__ = ["LinearStep", "limit_bits", "linear_steps"]

_MOST_LIMIT_BITS = 19  # so that a limb of ten bits and one of nine hold |q|


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearStep:
    """y = W x + b, where x and y are carried with some signs, as y = ratio * (product of shears) x + b.

    Attributes:
        shears: [C/2,C/2] float64 each, in encoding order.
        ratio: of the spacings after and before.
        sign: [C] int64: of the carried y.
        bias: [C] float64, of the carried y.
    """

    shears: tuple[np.ndarray, ...]
    ratio: float
    sign: np.ndarray
    bias: np.ndarray


def linear_steps(
    folded: FoldedGlow, *, progress: Callable[[int, int], None] | None = None
) -> tuple[tuple[LinearStep, ...], ...]:
    """Factor every step of a model, level by level.

    Args:
        folded: the model.
        progress: told steps done and all steps.

    Raises:
        UsageError: a 1x1 convolution is too near a singular matrix.
    """
    total, done = sum(len(level.steps) for level in folded.levels), 0
    result = []
    for index, level in enumerate(folded.levels, start=1):
        sign = np.ones(level.shape[0], dtype=np.int64)  # a half that stays is never carried with the other sign
        steps = []
        for number, step in enumerate(level.steps, start=1):
            weight = step.encode.weight[:, :, 0, 0].astype(np.float64)
            bias = step.encode.bias.astype(np.float64)
            if index == 1 and number == 1:
                bias = bias + weight @ np.full(len(bias), 0.5)  # integers have 0 in the middle of the pixels' range
            if number == 1:  # the graphs' squeeze gives channel (2i+j)*C+c where the model has 4c+2i+j
                count = len(bias) // 4
                weight = weight[:, [4 * channel + offset for offset in range(4) for channel in range(count)]]
            steps.append(_linear(weight * sign, bias, where=step_path(index, number)))
            sign = steps[-1].sign
            done += 1
            if progress is not None:
                progress(done, total)
        result.append(tuple(steps))
    return tuple(result)


def limit_bits(levels: tuple[tuple[LinearStep, ...], ...]) -> int:
    """Choose the limit 2^n of |q|: what a step adds to it must stay below 2^24, whatever the image."""
    growth = 1.0
    for step in (step for level in levels for step in level):
        sums = np.abs(np.stack(step.shears)).sum(axis=2)
        growth = max(growth, float(sums[::2].sum(axis=0).max()), float(sums[1::2].sum(axis=0).max()))
    # A sixteenth of the room is for rounded weights, biases and the coupling.
    return min(_MOST_LIMIT_BITS, int(np.floor(np.log2(ACCUMULATOR * 15 / 16 / (1.0 + growth)))))


def _linear(weight: np.ndarray, bias: np.ndarray, *, where: str) -> LinearStep:
    determinant, log_det = np.linalg.slogdet(weight)
    ratio = float(np.exp(log_det / len(weight)))
    sign = np.ones(len(bias), dtype=np.int64)
    sign[-1] = -1 if determinant < 0 else 1
    try:
        shears = factor(sign[:, None] * weight / ratio)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return LinearStep(shears=shears, ratio=ratio, sign=sign, bias=sign * bias)
