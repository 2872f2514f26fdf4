"""Choosing which conditioners may run in float16, so that the round trip keeps a promise.

A conditioner in 16 bit does not return quite the same values when decoding as it did when encoding, since its inputs
differ by the rounding of the trunk, and wherever such a difference straddles a rounding boundary the output jumps. How
much error a set of narrow conditioners brings is predicted from measured decode gains (`glow_deploy.budget`). So the
steps are put into an order, each time taking the one that adds least for the multiply-adds it moves to 16 bit; how many
of them fit is found by bisection, simulating the whole round trip on all calibration images each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.sixteen_bit import ChoiceFigures, StepChoice
from glow_deploy.budget.predict import Mode, predict
from glow_deploy.folding.arrays import FoldedGlow
from glow_deploy.graphs.precision_plan import PrecisionPlan, multiply_adds, step_paths
from glow_deploy.graphs.rounding import Rounding
from glow_deploy.numerics.statistics import CONFIDENCE, failure_rate_bound

from .simulate import float32_graphs, open_simulated

if TYPE_CHECKING:
    import onnx

    from glow_deploy.budget.profile import DecodeProfile
    from glow_deploy.protocol import Engine, Role

__all__ = ["TAIL", "TAIL_MARGIN", "WORST_MARGIN", "AutoChoice", "choose_plan"]

# The worst of many unseen images lies further out than that of a few hundred, which itself is a draw: the largest error
# of an image has a heavy tail. On Fashion-MNIST at 8 bits the worst of 4,000 images reached 1.6 to 3.8 times the 99th
# percentile of 256 others, for sets of 1 to 13 steps, and 0.8 to 2.4 times their worst.
TAIL = 0.99
TAIL_MARGIN = 3.0
WORST_MARGIN = 1.5

_BATCH = 32
_SECOND_CHANCES = 4  # steps tried behind the first that did not fit


@dataclass(frozen=True, kw_only=True)
class AutoChoice:
    """A plan, and what it stands on.

    Attributes:
        plan: of the name `auto`.
        tolerance: largest error of x -> z -> x asked for, in pixel steps.
        n: calibration images.
        tail: 99th percentile of their largest errors with this plan, simulated, in pixel steps; tolerance / 3 at most.
        worst: the largest of them; tolerance / 1.5 at most.
        bound: none of n was beyond the tolerance: with that confidence fewer than this share of images like these are.
            Not none: an image of thousands may well be.
        confidence: of the bound.
        share: of the multiply-adds of both graphs that run in float16.
        simulations: round trips of all calibration images that it took.
        steps: in encoding order.
    """

    plan: PrecisionPlan
    tolerance: float
    n: int
    tail: float
    worst: float
    bound: float
    confidence: float
    share: float
    simulations: int
    steps: tuple[StepChoice, ...]

    def figures(self) -> ChoiceFigures:
        """For the manifest."""
        return ChoiceFigures(
            tolerance=self.tolerance,
            n=self.n,
            bound=self.bound,
            confidence=self.confidence,
            share=self.share,
            simulations=self.simulations,
            tail=self.tail,
            worst=self.worst,
            tail_margin=TAIL_MARGIN,
            worst_margin=WORST_MARGIN,
            steps=self.steps,
        )


def choose_plan(
    folded: FoldedGlow,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    profile: DecodeProfile,
    excluded: Mapping[str, str] | None = None,
    tolerance: float = 0.5,
    confidence: float = CONFIDENCE,
    progress: Callable[[int], None] | None = None,
) -> AutoChoice:
    """Find the conditioners that can run in float16 while x -> z -> x stays within a tolerance.

    Args:
        folded: the model.
        x: calibration images [N,C,H,W] float32 at bin centres; 256 or more.
        y: their class labels [N] int64, for class-conditional models.
        profile: decode gains of the model, of `glow_deploy.budget.measure_profile`.
        excluded: step path -> why it stays in float32 whatever its error, such as its range.
        tolerance: largest |x_hat - x| allowed, in pixel steps; 0.5 gives every pixel of these images back.
        confidence: of the bound on what becomes of others, in (0, 1).
        progress: called with the simulations done.

    Returns:
        The choice. With no conditioner in float16 where nothing fits, whatever float32 itself gives.
    """
    excluded = excluded or {}
    paths = step_paths(folded)
    counts = multiply_adds(folded)
    total = sum(counts.values())
    order, predicted = _order([path for path in paths if path not in excluded], counts, profile)
    search = _Search(folded, x, y, tolerance=tolerance, progress=progress)
    narrow, tail, worst = search.run(order)
    chosen = set(narrow)
    plan = PrecisionPlan.auto(folded, narrow=[path for path in paths if path in chosen])
    gains = profile.gains
    rows = tuple(
        StepChoice(
            step=path,
            number=plan.conditioners[path],
            gain=gains[path],
            predicted=predicted.get(path, math.inf) * 2.0**folded.n_bits,
            share=counts[path] / total,
            reason="" if path in chosen else excluded.get(path) or search.reason(path),
        )
        for path in paths
    )
    lost = 0 if worst <= tolerance else len(x)
    return AutoChoice(
        plan=plan,
        tolerance=tolerance,
        n=len(x),
        tail=tail,
        worst=worst,
        bound=failure_rate_bound(lost, len(x), confidence=confidence),
        confidence=confidence,
        share=plan.share(folded),
        simulations=search.done,
        steps=rows,
    )


def _order(
    paths: Sequence[str], counts: Mapping[str, int], profile: DecodeProfile
) -> tuple[list[str], dict[str, float]]:
    """Take the steps that add least error for their work first; also what is predicted as each joins, in x."""
    order: list[str] = []
    predicted: dict[str, float] = {}
    square = 0.0
    while len(order) < len(paths):
        with_each = {path: _predict(profile, [*order, path]) for path in paths if path not in predicted}
        best = min(with_each, key=lambda path: (with_each[path] ** 2 - square) / counts[path])
        square = with_each[best] ** 2
        if not math.isfinite(square):
            break  # and so would it be with any of the others
        order.append(best)
        predicted[best] = with_each[best]
    return order, predicted


def _predict(profile: DecodeProfile, narrow: Sequence[str]) -> float:
    modes: dict[str, Mode] = dict.fromkeys(narrow, "fp16")
    return predict(profile, trunk="fp32", conditioners=modes).rms


class _Search:
    """Simulated round trips of the calibration images, for one set of steps after another."""

    def __init__(
        self,
        folded: FoldedGlow,
        x: np.ndarray,
        y: np.ndarray | None,
        *,
        tolerance: float,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.done = 0
        self._graphs: Mapping[Role, onnx.ModelProto] = float32_graphs(folded)
        self._refused: dict[str, tuple[int, float, float]] = {}  # step -> size, tail and worst of the set that failed
        self._paths = step_paths(folded)
        self._x, self._y = x, y
        self._steps = 2.0**folded.n_bits
        self._tolerance = tolerance
        self._progress = progress

    def run(self, order: Sequence[str]) -> tuple[Sequence[str], float, float]:
        """Return the largest set found that stays within the limits, with its tail and worst error."""
        figures = self._measure(order)
        if self._fits(figures):
            return (order, *figures)
        best: tuple[Sequence[str], tuple[float, float]] = ((), self._measure(()))
        low, high = 0, len(order)  # a prefix of `low` fits, one of `high` does not
        if order:
            self._refused[order[-1]] = (len(order), *figures)
        while high - low > 1:
            middle = (low + high) // 2
            figures = self._measure(order[:middle])
            if self._fits(figures):
                low, best = middle, (order[:middle], figures)
            else:
                high = middle
                self._refused[order[middle - 1]] = (middle, *figures)
        # Large errors are rare, and one step's may hide in another's: those behind the first that failed get a chance.
        kept = list(best[0])
        for path in order[high : high + _SECOND_CHANCES]:
            figures = self._measure([*kept, path])
            if self._fits(figures):
                kept.append(path)
                best = (tuple(kept), figures)
            else:
                self._refused[path] = (len(kept) + 1, *figures)
        return (best[0], *best[1])

    def reason(self, path: str) -> str:
        """Why a step stayed in float32."""
        if path not in self._refused:
            return "adds more error for its work than the steps chosen; not tried beside them"
        size, tail, worst = self._refused[path]
        together = "with it alone" if size == 1 else f"with it and {size - 1} other steps"
        if not math.isfinite(worst):
            return f"{together} some calibration image is not finite"
        return (
            f"{together} 1 % of the calibration images are off by {tail:.2g} pixel steps or more, the worst by "
            f"{worst:.2g}; {self._tolerance / TAIL_MARGIN:.2g} and {self._tolerance / WORST_MARGIN:.2g} are allowed"
        )

    def _fits(self, figures: tuple[float, float]) -> bool:
        tail, worst = figures
        return tail * TAIL_MARGIN <= self._tolerance and worst * WORST_MARGIN <= self._tolerance

    def _measure(self, narrow: Sequence[str]) -> tuple[float, float]:
        """99th percentile and maximum of the images' largest errors, pixel steps; infinite where not finite."""
        chosen = set(narrow)
        rounding = Rounding(
            trunk="fp32", conditioners={path: "fp16" if path in chosen else "fp32" for path in self._paths}
        )
        largest: list[np.ndarray] = []
        with ExitStack() as stack:
            encoder, decoder = (stack.enter_context(engine) for engine in open_simulated(self._graphs, rounding))
            for first in range(0, len(self._x), _BATCH):
                rows = slice(first, first + _BATCH)
                error = np.abs(self._round_trip(encoder, decoder, rows).astype(np.float64) - self._x[rows])
                largest.append(error.max(axis=(1, 2, 3)) * self._steps)
        self.done += 1
        if self._progress is not None:
            self._progress(self.done)
        errors = np.concatenate(largest)
        if not np.isfinite(errors).all():
            return math.inf, math.inf
        return float(np.quantile(errors, TAIL)), float(errors.max())

    def _round_trip(self, encoder: Engine, decoder: Engine, rows: slice) -> np.ndarray:
        labels = {} if self._y is None else {"y": self._y[rows]}
        z = encoder.run({"x": self._x[rows], **labels})
        del z["log_prob"]
        return decoder.run({**z, **labels})["x"]
