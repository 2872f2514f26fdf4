"""The bounds that make an exact model exact, taken over every image there is.

Convolutions read clipped integers, so their sums are bounded whatever the image. Between two checked places the trunk
grows by what shears and couplings add, which is bounded by the same sums. So from values within the limit a step makes
exact ones, and the next check says rightly whether those are within it: by induction, what is in range is exact.
"""

from __future__ import annotations

import numpy as np

from glow_deploy.artifact.exact_figures import ExactProof
from glow_deploy.errors import UnsoundModelError
from glow_deploy.folding.arrays import step_path

from .arrays import ACCUMULATOR, ExactGlow, ExactSplit, ExactStep, IntegerConv
from .operands import first_unfit

__all__ = ["prove"]

# A normal number is z times exp(-log_scale) times the spacing, and back: with an exponential right to two units in the
# last place either way and seven more roundings of float32, below this z the error is less than half a step.
_NORMAL_LIMIT = 2**19


def prove(model: ExactGlow) -> ExactProof:
    """Compute the bounds of a model.

    Raises:
        UnsoundModelError: one does not hold; the message says which, and where.
    """
    wrong = first_unfit(model)
    if wrong is not None:
        raise UnsoundModelError(wrong)
    sums: list[tuple[int, str]] = []
    operands = 0
    for path, conv, largest in model.convolutions():
        sums.append((int(conv.largest_sums(largest).max()), path))
        operands = max(operands, largest, int(np.abs(conv.weight).max()))
    values = [(2 ** (model.grid_bits - 1), "x")]
    for index, level in enumerate(model.levels, start=1):
        for number, step in enumerate(level.steps, start=1):
            values.append((_largest_between(model, step), step_path(index, number)))
        if isinstance(level.split, ExactSplit):
            half = len(level.split.conv.bias) // 2
            mean = int(level.split.conv.largest_results(level.split.input.largest)[:half].max())
            values.append((model.limit + mean, f"level{index}/split"))
    values.append((model.limit + int(np.abs(model.prior.mean).max()), "prior"))
    (largest_sum, where_sum), (largest_value, where_value) = max(sums), max(values)
    for bound, where, what in (
        (largest_sum, where_sum, "a sum of products"),
        (largest_value, where_value, "a value of the trunk"),
    ):
        if bound >= ACCUMULATOR:
            raise UnsoundModelError(
                f"{where}: {what} may reach {bound}, and float32 holds integers below {ACCUMULATOR}"
            )
    if values[0][0] > model.limit:
        raise UnsoundModelError(f"pixels reach {values[0][0]} steps of the grid, and the limit is {model.limit}")
    return ExactProof(
        limit=model.limit,
        largest_sum=largest_sum,
        where_sum=where_sum,
        largest_value=largest_value,
        where_value=where_value,
        largest_operand=operands,
        normal_limit=_NORMAL_LIMIT,
    )


def _largest_between(model: ExactGlow, step: ExactStep) -> int:
    """Bound what a step's values are before the check at its end, or at its start on the way back."""
    half = len(step.shears[0].conv.bias)
    added = [np.zeros(half, dtype=np.int64), np.zeros(half, dtype=np.int64)]
    for shear in step.shears:
        added[shear.lower] += _largest_shift(model, shear.conv)
    added[1] += step.conditioner.conv3.largest_results(step.conditioner.largest)
    return model.limit + int(np.max(added))


def _largest_shift(model: ExactGlow, conv: IntegerConv) -> np.ndarray:
    """Bound what both limbs of a shear add, [C/2]."""
    scale = np.exp2(conv.shift)
    high = conv.largest_sums(model.limit >> model.limb_bits)[0] * 2.0**model.limb_bits / scale
    low = conv.largest_sums(2 ** (model.limb_bits - 1))[0] / scale
    bound: np.ndarray = (np.ceil(high) + np.ceil(low)).astype(np.int64)
    return bound
