"""When a run ends, and how far it is. No torch here."""

from __future__ import annotations

import math
from collections import deque

from .progress import StopReason
from .settings import TrainSettings

__all__ = ["Budget", "StepRate"]

_RATE_STEPS = 50


class Budget:
    """The budgets of the settings, whichever runs out first.

    Args:
        settings: with at least one budget.
        images: number of training images.
    """

    def __init__(self, settings: TrainSettings, *, images: int) -> None:
        epochs = settings.max_epochs
        self._steps: dict[StopReason, int] = {}
        if settings.max_steps is not None:
            self._steps["steps"] = settings.max_steps
        if epochs is not None:
            self._steps["epochs"] = max(1, math.ceil(epochs * images / settings.batch_size))
        self._seconds = settings.max_seconds

    def used_up(self, *, step: int, seconds: float) -> StopReason | None:
        """Return the budget that has run out, or None."""
        for reason, limit in self._steps.items():
            if step >= limit:
                return reason
        return "time" if self._seconds is not None and seconds >= self._seconds else None

    def fraction(self, *, step: int, seconds: float) -> float:
        """Return the share that is used up, 0 to 1."""
        shares = [step / limit for limit in self._steps.values()]
        if self._seconds is not None:
            shares.append(seconds / self._seconds)
        return min(1.0, max(shares))

    def steps_left(self, *, step: int) -> int | None:
        """Return the steps to the end; None where time alone ends the run."""
        return min((max(0, limit - step) for limit in self._steps.values()), default=None)

    def seconds_left(self, *, step: int, seconds: float, rate: float | None) -> float | None:
        """Return the expected time to the end at `rate` steps per second; None where that is not known."""
        left = [] if rate is None else [max(0, limit - step) / rate for limit in self._steps.values()]
        if self._seconds is not None:
            left.append(max(0.0, self._seconds - seconds))
        return min(left) if left else None


class StepRate:
    """Steps per second over the latest steps."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RATE_STEPS)

    def add(self, step: int, seconds: float) -> None:
        """Note that a step was done at a time."""
        self._recent.append((step, seconds))

    def value(self) -> float | None:
        """Return the rate, or None before the second step."""
        if len(self._recent) < 2:
            return None
        (first, begin), (last, end) = self._recent[0], self._recent[-1]
        return (last - first) / max(end - begin, 1e-9)
