"""A matrix of determinant one as a product of block shears.

A shear adds a function of one half of the channels to the other half. Rounded, it is still a bijection of integers, for
the way back subtracts the very same numbers. Any real matrix of determinant 1 is a product of shears; six of them,
upper and lower in turn, have half as many free numbers again as the matrix, so their norms can be kept small. They are
found by damped least squares (Levenberg 1944, Marquardt 1963), with conjugate gradients for the linear systems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glow_deploy.errors import UsageError

__all__ = ["factor", "is_lower", "product", "refine"]

_COUNTS = (6, 8, 12)  # even, so that the last one is lower, as the coupling is
_TRIES = 3
_ROUNDS = 90
_REFINEMENTS = 3
_REFINE_DAMPING = 1e-4  # keeps the change small where it would help little
_CLOSE = 1e-6  # far below what the rounding of weights does
_SEED = 0


def is_lower(number: int) -> bool:
    """Whether shear `number`, counted from 0, adds to the second half: the first adds to the first."""
    return number % 2 == 1


def factor(matrix: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find shears whose product is a matrix, in the order in which they are applied.

    Args:
        matrix: [C,C] float64 of determinant 1, C even.

    Returns:
        [C/2,C/2] each; 6 of them, or more for a matrix that is far from a rotation.

    Raises:
        UsageError: none were found: the matrix is too near a singular one.
    """
    for count in _COUNTS:
        for attempt in range(_TRIES):
            shears = _solve(matrix, count, seed=_SEED + attempt)
            if shears is not None:
                return shears
    raise UsageError(
        f"a 1x1 convolution (condition number {np.linalg.cond(matrix):.3g}) has no product of {_COUNTS[-1]} shears "
        "that could be found, so this model has no exact graphs: export it with another precision"
    )


def refine(matrix: np.ndarray, shears: Sequence[np.ndarray], *, first: int) -> tuple[np.ndarray, ...]:
    """Change the shears from `first` on so that the product comes nearer to a matrix, the others staying as they are.

    Rounding one shear and making up for it with those that follow leaves far less error than rounding all of them.

    Args:
        matrix: [C,C].
        shears: whose product is near it.
        first: number of the first that may change.
    """
    found = np.stack(shears)
    error = float(((product(found) - matrix) ** 2).sum())
    for _ in range(_REFINEMENTS):
        chain = _Chain(found)
        target = -chain.transposed(chain.whole - matrix)
        target[:first] = 0.0
        step = _conjugate_gradients(chain, target, _REFINE_DAMPING, iterations=100, first=first)
        left = float(((product(found + step) - matrix) ** 2).sum())
        if left >= error:
            break
        found, error = found + step, left
    return tuple(found)


def product(shears: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Multiply shears out, [C,C]."""
    half = len(shears[0])
    result = np.eye(2 * half)
    for number, shear in enumerate(shears):
        if is_lower(number):
            result[half:] += shear @ result[:half]
        else:
            result[:half] += shear @ result[half:]
    return result


def _solve(matrix: np.ndarray, count: int, *, seed: int) -> tuple[np.ndarray, ...] | None:
    half = len(matrix) // 2
    generator = np.random.default_rng(seed)
    found = 0.3 / np.sqrt(half) * generator.normal(size=(count, half, half))
    weight, damping = 1e-2, 1e-1
    for round_ in range(_ROUNDS):
        chain = _Chain(found)
        error = chain.whole - matrix
        if np.abs(error).max() < _CLOSE:
            return tuple(found)
        slope = chain.transposed(error) + weight * found
        step = _conjugate_gradients(chain, -slope, weight + damping, iterations=40 + 4 * round_)
        cost = _cost(chain.whole, matrix, found, weight)
        if _cost(product(found + step), matrix, found + step, weight) < cost:
            found, damping = found + step, max(0.3 * damping, 1e-12)
        else:
            damping = min(4 * damping, 1e3)
        if round_ % 2 == 1:  # from shears that are small to shears that are right
            weight *= 0.2
    return None


def _cost(whole: np.ndarray, matrix: np.ndarray, shears: np.ndarray, weight: float) -> float:
    return float(((whole - matrix) ** 2).sum() + weight * (shears**2).sum())


class _Chain:
    """The product of shears and its derivative."""

    def __init__(self, shears: np.ndarray) -> None:
        count, half, _ = shears.shape
        self._half = half
        size = 2 * half
        self._before = np.empty((count + 1, size, size))
        self._after = np.empty((count + 1, size, size))
        self._before[0] = self._after[count] = np.eye(size)
        for number in range(count):
            self._before[number + 1] = self._before[number]
            read, write = self._halves(number)
            self._before[number + 1][write] += shears[number] @ self._before[number][read]
        for number in reversed(range(count)):
            self._after[number] = self._after[number + 1]
            read, write = self._halves(number)
            self._after[number][:, read] += self._after[number + 1][:, write] @ shears[number]
        self.whole = self._before[count]
        # What a change of shear i is multiplied by, from the left and from the right.
        self._left = np.stack([self._after[i + 1][:, self._halves(i)[1]] for i in range(count)])
        self._right = np.stack([self._before[i][self._halves(i)[0]] for i in range(count)])

    def _halves(self, number: int) -> tuple[slice, slice]:
        first, second = slice(0, self._half), slice(self._half, None)
        return (first, second) if is_lower(number) else (second, first)

    def forward(self, change: np.ndarray) -> np.ndarray:
        """Return how the product changes with the shears."""
        result: np.ndarray = (self._left @ (change @ self._right)).sum(axis=0)
        return result

    def transposed(self, change: np.ndarray) -> np.ndarray:
        result: np.ndarray = self._left.transpose(0, 2, 1) @ (change @ self._right.transpose(0, 2, 1))
        return result


def _conjugate_gradients(
    chain: _Chain, target: np.ndarray, damping: float, *, iterations: int, first: int = 0
) -> np.ndarray:
    """Solve (J^T J + damping) step = target, nearly, for steps that leave the shears before `first` alone."""
    step = np.zeros_like(target)
    residual = target.copy()
    direction = residual.copy()
    size = start = float((residual**2).sum())
    for _ in range(iterations):
        if size <= 1e-3 * start:
            break
        image = chain.transposed(chain.forward(direction)) + damping * direction
        image[:first] = 0.0
        length = size / float((direction * image).sum())
        step += length * direction
        residual -= length * image
        size, last = float((residual**2).sum()), size
        direction = residual + size / last * direction
    return step
