"""Choosing which conditioners may run in float16, so that the round trip keeps a promise.

A conditioner in 16 bit does not return quite the same values when decoding as it did when encoding, since its inputs
differ by the rounding of the trunk, and wherever such a difference straddles a rounding boundary the output jumps. The
jump at step k reaches the picture multiplied by the decode gain of that step. So each step has a predicted cost, gain
times jump, and a worth, its share of the multiply-adds. Steps are taken in order of cost over worth; how many of them
fit is found by bisection, simulating the whole round trip on all calibration images each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..folding.arrays import FoldedGlow
from ..verify.statistics import failure_rate_bound
from .plan import PrecisionPlan, multiply_adds, step_paths
from .rounding import Rounding
from .simulate import float32_graphs, open_simulated, simulated_graph

if TYPE_CHECKING:
    import onnx

    from ..engines.protocol import Engine, Role

__all__ = ["MARGIN", "AutoChoice", "StepChoice", "choose_plan"]

# The worst of the calibration images has to stay below the tolerance over this, because the worst of many more images
# lies further out: on Fashion-MNIST at 8 bits an image's largest error grew 1.8-fold for every tenfold number of
# images, so 10,000 images reach 2.6 times the worst of 256, and that worst is itself a draw.
MARGIN = 4.0

_BATCH = 32
_JUMP_IMAGES = 64  # enough for the rms of the jumps, which only order the steps
_SECOND_CHANCES = 4  # steps tried behind the first that did not fit


@dataclass(frozen=True, kw_only=True)
class StepChoice:
    """One step of flow in the choice.

    Attributes:
        step: path, `level1/step01`.
        number: `fp16` or `fp32`.
        gain: decode gain: rms error of x for an error of 1 after this step.
        jump: rms difference between what its conditioner gives encoding and decoding, all conditioners in float16.
        predicted: gain times jump, rms in pixel steps.
        share: of the multiply-adds of both graphs.
        reason: why it was kept in float32; empty for a step in float16.
    """

    step: str
    number: str
    gain: float
    jump: float
    predicted: float
    share: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not finite is null."""
        values = {name: getattr(self, name) for name in ("gain", "jump", "predicted", "share")}
        figures = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return {"step": self.step, "number": self.number, **figures, "reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class AutoChoice:
    """A plan, and what it stands on.

    Attributes:
        plan: of the name `auto`.
        tolerance: largest error of x -> z -> x asked for, in pixel steps.
        margin: the calibration images had to stay below tolerance / margin.
        n: calibration images.
        worst: largest error of any of them with this plan, simulated, in pixel steps.
        bound: with 95 % confidence the share of images like these beyond tolerance / margin is below this.
        share: of the multiply-adds of both graphs that run in float16.
        simulations: round trips of all calibration images that it took.
        steps: in encoding order.
    """

    plan: PrecisionPlan
    tolerance: float
    margin: float
    n: int
    worst: float
    bound: float
    share: float
    simulations: int
    steps: tuple[StepChoice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = ("tolerance", "margin", "n", "bound", "share", "simulations")
        return {
            **{name: getattr(self, name) for name in names},
            "worst": self.worst if math.isfinite(self.worst) else None,
            "steps": [step.to_dict() for step in self.steps],
        }


def choose_plan(
    folded: FoldedGlow,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    gains: Mapping[str, float],
    excluded: Mapping[str, str] | None = None,
    tolerance: float = 0.5,
    margin: float = MARGIN,
    progress: Callable[[int], None] | None = None,
) -> AutoChoice:
    """Find the conditioners that can run in float16 while x -> z -> x stays within a tolerance.

    Args:
        folded: the model.
        x: calibration images [N,C,H,W] float32 at bin centres; 256 or more.
        y: their class labels [N] int64, for class-conditional models.
        gains: step path -> decode gain; one that is not finite keeps its step in float32.
        excluded: step path -> why it stays in float32 whatever its error, such as its range.
        tolerance: largest |x_hat - x| allowed, in pixel steps; 0.5 gives every pixel back.
        margin: calibration images have to stay below tolerance / margin.
        progress: called with the simulations done.

    Returns:
        The choice. With no conditioner in float16 where nothing fits, whatever float32 itself gives.
    """
    search = _Search(folded, x, y, limit=tolerance / margin, progress=progress)
    paths = step_paths(folded)
    counts = multiply_adds(folded)
    total = sum(counts.values())
    few = None if y is None else y[:_JUMP_IMAGES]
    jumps = _jumps(search.graphs, paths, x[:_JUMP_IMAGES], few, coupling=folded.coupling)
    steps = 2.0**folded.n_bits
    predicted = {path: gains[path] * jumps[path] * steps for path in paths}
    excluded = excluded or {}
    order = sorted(
        (path for path in paths if math.isfinite(predicted[path]) and path not in excluded),
        key=lambda path: predicted[path] ** 2 / counts[path],
    )
    narrow, worst = search.run(order)
    chosen = set(narrow)
    plan = PrecisionPlan.auto(folded, narrow=[path for path in paths if path in chosen])
    limit = tolerance / margin
    rows = tuple(
        StepChoice(
            step=path,
            number=plan.conditioners[path],
            gain=gains[path],
            jump=jumps[path],
            predicted=predicted[path],
            share=counts[path] / total,
            reason=""
            if path in chosen
            else excluded.get(path) or _reason(predicted[path], search.refused.get(path), limit),
        )
        for path in paths
    )
    return AutoChoice(
        plan=plan,
        tolerance=tolerance,
        margin=margin,
        n=len(x),
        worst=worst,
        bound=failure_rate_bound(0 if worst <= limit else len(x), len(x)),
        share=plan.share(folded),
        simulations=search.done,
        steps=rows,
    )


class _Search:
    """Simulated round trips of the calibration images, for one set of steps after another."""

    def __init__(
        self,
        folded: FoldedGlow,
        x: np.ndarray,
        y: np.ndarray | None,
        *,
        limit: float,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.graphs: Mapping[Role, onnx.ModelProto] = float32_graphs(folded)
        self.refused: dict[str, float] = {}  # step -> worst error of the set that failed with it
        self.done = 0
        self._paths = step_paths(folded)
        self._x, self._y = x, y
        self._steps = 2.0**folded.n_bits
        self._limit = limit
        self._progress = progress

    def run(self, order: Sequence[str]) -> tuple[Sequence[str], float]:
        """Return the largest set found that stays within the limit, and its worst error."""
        best: tuple[Sequence[str], float] = ((), self._worst(()))
        worst = self._worst(order)
        if worst <= self._limit:
            return order, worst
        low, high = 0, len(order)  # a prefix of `low` fits, one of `high` does not
        while high - low > 1:
            middle = (low + high) // 2
            worst = self._worst(order[:middle])
            if worst <= self._limit:
                low, best = middle, (order[:middle], worst)
            else:
                high = middle
                self.refused[order[middle - 1]] = worst
        # The step that broke the last prefix may be a bad guess of the order: those behind it get a chance each.
        kept = list(best[0])
        for path in order[high : high + _SECOND_CHANCES]:
            worst = self._worst([*kept, path])
            if worst <= self._limit:
                kept.append(path)
                best = (tuple(kept), worst)
            else:
                self.refused[path] = worst
        return best

    def _worst(self, narrow: Sequence[str]) -> float:
        """Largest |x_hat - x| of any image in pixel steps; infinite where a value is not finite."""
        chosen = set(narrow)
        rounding = Rounding(
            trunk="fp32", conditioners={path: "fp16" if path in chosen else "fp32" for path in self._paths}
        )
        worst = 0.0
        with ExitStack() as stack:
            encoder, decoder = (stack.enter_context(engine) for engine in open_simulated(self.graphs, rounding))
            for first in range(0, len(self._x), _BATCH):
                rows = slice(first, first + _BATCH)
                error = np.abs(self._round_trip(encoder, decoder, rows).astype(np.float64) - self._x[rows])
                if not np.isfinite(error).all():
                    worst = math.inf
                    break
                worst = max(worst, float(error.max()) * self._steps)
        self.done += 1
        if self._progress is not None:
            self._progress(self.done)
        return worst

    def _round_trip(self, encoder: Engine, decoder: Engine, rows: slice) -> np.ndarray:
        labels = {} if self._y is None else {"y": self._y[rows]}
        z = encoder.run({"x": self._x[rows], **labels})
        del z["log_prob"]
        return decoder.run({**z, **labels})["x"]


def _jumps(
    graphs: Mapping[Role, onnx.ModelProto],
    paths: Sequence[str],
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    coupling: str,
) -> dict[str, float]:
    """Measure at every step by how much its conditioner's results differ between the two directions, rms.

    The shift counts as it is, the argument of the scale by what it does to values of size 1: at most a quarter.
    """
    import onnxruntime

    from ..graphs.taps import with_outputs

    names = [f"{path}/coupling/conv3:0" for path in paths]
    rounding = Rounding.uniform(paths, conditioners="fp16")
    results: dict[str, dict[str, np.ndarray]] = {}
    feeds: dict[str, np.ndarray] = {"x": x}
    for role in ("encoder", "decoder"):
        model = with_outputs(simulated_graph(graphs[role], rounding), names)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        wanted = [value.name for value in session.get_outputs()]
        given = feeds if y is None else {**feeds, "y": y}
        outputs = dict(zip(wanted, session.run(wanted, given), strict=True))
        results[role] = outputs
        feeds = {name: values for name, values in outputs.items() if name.startswith("z") and "/" not in name}
    jumps = {}
    for path, name in zip(paths, names, strict=True):
        with np.errstate(invalid="ignore", over="ignore"):
            difference = results["encoder"][name].astype(np.float64) - results["decoder"][name]
            parts = (difference,) if coupling == "additive" else np.split(difference, 2, axis=1)
            weights = (1.0, 0.25)
            jumps[path] = math.sqrt(sum(np.square(w * part).mean() for w, part in zip(weights, parts, strict=False)))
    return jumps


def _reason(predicted: float, refused: float | None, limit: float) -> str:
    if not math.isfinite(predicted):
        return "its values, or those after it, are not finite in float16"
    if refused is not None:
        worst = f"{refused:.2g} pixel steps" if math.isfinite(refused) else "not finite"
        return f"with it the worst calibration image was {worst}, where {limit:.2g} are allowed"
    return f"costs more than the steps chosen: predicted {predicted:.1e} pixel steps rms, and there was no room left"
