"""Minimising one function for each row of a batch at once: L-BFGS, in NumPy.

Rows are images and do not touch one another, so each has its own curvature, step length and end; what is shared is the
call that evaluates them. L-BFGS as in Nocedal & Wright (2006), algorithms 7.4 and 7.5, with a backtracking line search
(algorithm 3.1), which is also what brings a step back that led to where nothing is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_real, as_whole, settle
from glow_deploy.errors import UsageError
from glow_deploy.progress import CountProgress

__all__ = ["LbfgsSettings", "Minimum", "Objective", "minimise"]

Rows = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

Objective = Callable[[Float64Array, Rows], tuple[Float64Array, Float64Array]]
"""Called with points [n, D] and the numbers of their rows [n]; gives values [n] and gradients [n, D].

Either may be non-finite: the step that led there is then halved.
"""

_ARMIJO = 1e-4  # share of the expected decrease that a step must bring (Nocedal & Wright, section 3.1)
_HALVINGS = 30
_CURVATURE = 1e-10  # of |s| |y|: a pair below it says nothing about curvature, or that it is negative


@dataclass(frozen=True, kw_only=True)
class LbfgsSettings:
    """How to minimise.

    Attributes:
        steps: iterations at most.
        memory: pairs of steps and gradient changes kept for each row.
        tolerance: a row has converged once `patience` iterations together lowered its value by less than `tolerance`
            times the larger of 1 and its magnitude, or once its gradient is zero.
        patience: see there.
    """

    steps: int = 200
    memory: int = 20
    tolerance: float = 1e-3
    patience: int = 10

    def __post_init__(self) -> None:
        settle(self, as_whole, "steps", "memory", "patience", least=1)
        settle(self, as_real, "tolerance", least=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where it ended.

    Attributes:
        point: float64 [N, D], the best found of each row; all its values and gradients were finite.
        value: float64 [N].
        steps: int64 [N], iterations that each row took.
        converged: bool [N]; False where the iterations ran out.
        evaluations: int64 [N], values with their gradient.
        nonfinite: int64 [N], how many of those were not finite, after each of which the step was halved.
    """

    point: Float64Array
    value: Float64Array
    steps: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    evaluations: npt.NDArray[np.int64]
    nonfinite: npt.NDArray[np.int64]


class _Memory:
    """The last pairs of every row, oldest first; a row that skipped one holds zeros there, which do nothing."""

    def __init__(self, settings: LbfgsSettings, rows: int) -> None:
        self._limit = settings.memory
        self._pairs: list[tuple[Float64Array, Float64Array, Float64Array]] = []
        self._scale = np.ones(rows)

    def add(self, step: Float64Array, change: Float64Array) -> None:
        product = _dot(step, change)
        good = product > _CURVATURE * np.sqrt(_dot(step, step) * _dot(change, change))
        rho = np.where(good, 1 / np.where(good, product, 1), 0.0)
        squared = _dot(change, change)
        self._scale = np.where(good, product / np.where(good, squared, 1), self._scale)
        self._pairs.append((step * good[:, None], change * good[:, None], rho))
        del self._pairs[: -self._limit]

    def forget(self, rows: npt.NDArray[np.bool_]) -> None:
        for step, change, rho in self._pairs:
            step[rows], change[rows], rho[rows] = 0, 0, 0
        self._scale[rows] = 1

    def fresh(self) -> npt.NDArray[np.bool_]:
        """Rows that hold nothing yet, whose first step has no length of its own."""
        return np.asarray(sum((rho for _, _, rho in self._pairs), np.zeros_like(self._scale)) == 0)

    def direction(self, gradient: Float64Array) -> Float64Array:
        q = -gradient
        shares = []
        for step, change, rho in reversed(self._pairs):
            shares.append(rho * _dot(step, q))
            q = q - shares[-1][:, None] * change
        q = q * self._scale[:, None]
        for (step, change, rho), share in zip(self._pairs, reversed(shares), strict=True):
            q = q + (share - rho * _dot(change, q))[:, None] * step
        return q


def minimise(
    objective: Objective,
    start: npt.NDArray[np.floating],
    *,
    settings: LbfgsSettings | None = None,
    progress: CountProgress | None = None,
) -> Minimum:
    """Minimise a smooth function of each row.

    The result of a row does not depend on which others are in the batch, as far as the objective's does not.

    Args:
        objective: see `Objective`.
        start: [N, D], where values and gradients are finite.
        settings: how; None for the defaults.
        progress: called with (iterations done, at most) after each.

    Raises:
        UsageError: a value or gradient at the start is not finite.

    Examples:
        >>> def bowl(point, rows):  # |x - 1|^2, |x - 2|^2
        ...     away = point - (rows + 1)[:, None]
        ...     return (away**2).sum(axis=1), 2 * away
        >>> found = minimise(bowl, np.zeros((2, 3)))
        >>> found.point.round(6).tolist(), found.converged.tolist()
        ([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], [True, True])
    """
    settings = settings or LbfgsSettings()
    point = np.array(start, dtype=np.float64)
    count = len(point)
    every = np.arange(count)
    value, gradient = objective(point, every)
    value, gradient = np.array(value, dtype=np.float64), np.array(gradient, dtype=np.float64)
    bad = ~_finite(value, gradient)
    if bad.any():
        raise UsageError(f"the objective is not finite at the start of {int(bad.sum())} of {count} rows")
    memory = _Memory(settings, count)
    evaluations, nonfinite, taken = np.ones(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    converged: npt.NDArray[np.bool_] = np.asarray(~gradient.any(axis=1))
    history = [value.copy()]
    for iteration in range(1, settings.steps + 1):
        active = ~converged
        if not active.any():
            break
        direction = memory.direction(gradient)
        uphill = active & ~(_dot(direction, gradient) < 0)
        memory.forget(uphill)
        direction[uphill] = -gradient[uphill]
        # Without any curvature known, a step of the gradient's own length may be of any size: one of length 1 is tried.
        length = np.where(memory.fresh(), 1 / np.maximum(np.sqrt(_dot(gradient, gradient)), 1e-300), 1.0)
        slope = _dot(direction, gradient)
        new_point, new_value, new_gradient = point.copy(), value.copy(), gradient.copy()
        pending = active.copy()
        for _ in range(_HALVINGS):
            rows = every[pending]
            trial = point[rows] + length[rows, None] * direction[rows]
            tried, slopes = objective(trial, rows)
            finite = _finite(tried, slopes)
            evaluations[rows] += 1
            nonfinite[rows] += ~finite
            with np.errstate(invalid="ignore"):
                good = finite & (tried <= value[rows] + _ARMIJO * length[rows] * slope[rows])
            kept = rows[good]
            new_point[kept], new_value[kept], new_gradient[kept] = trial[good], tried[good], slopes[good]
            pending[kept] = False
            length[rows[~good]] /= 2
            if not pending.any():
                break
        taken[active] += 1
        # Rows that found no lower value go on along the gradient; those that came from there are as low as they get.
        converged |= pending & memory.fresh()
        memory.add(new_point - point, new_gradient - gradient)
        memory.forget(pending)
        point, value, gradient = new_point, new_value, new_gradient
        history.append(value.copy())
        if len(history) > settings.patience:
            fallen = history[-1 - settings.patience] - value
            converged |= active & ~pending & (fallen < settings.tolerance * np.maximum(1, np.abs(value)))
            del history[0]
        converged |= ~gradient.any(axis=1)
        if progress is not None:
            progress(iteration, settings.steps)
    return Minimum(
        point=point, value=value, steps=taken, converged=converged, evaluations=evaluations, nonfinite=nonfinite
    )


def _dot(a: Float64Array, b: Float64Array) -> Float64Array:
    return np.asarray(np.einsum("nd,nd->n", a, b))


def _finite(value: Float64Array, gradient: Float64Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(value) & np.isfinite(gradient).all(axis=1))
