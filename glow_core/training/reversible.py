"""Gradients of a Glow that keep next to nothing of the forward pass: the steps are recomputed in the backward pass.

Gomez et al. 2017 (arXiv:1707.04585) train reversible networks this way; a Glow is one by construction. Only the input
of a segment of steps is kept, and the output of the last. From the output each layer's input is found by its inverse,
and the layer is run again for its gradients, so that there are the activations of one conditioner at a time.

The input that is kept is what guards the way back: where the recomputed one strays from it, the segment is gone through
once more from the kept input, step by step. Gradients taken on the way are thrown away, so that none comes from a bad
reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glow_core.model import FlowStep, Glow, Level

__all__ = ["COARSE_DRIFT_LIMIT", "DRIFT_LIMIT", "LevelPlan", "RecomputingGlow", "drift_between"]

DRIFT_LIMIT = 1e-5
"""Of a recomputed input, as `drift_between` measures it.

Sound models drift by a few 1e-6 in float32 (benchmarks/memory.py). Further off, ReLUs switch, and gradients err by far
more than the drift.
"""

COARSE_DRIFT_LIMIT = 5e-3
"""The same where conditioners compute in bfloat16.

A drift of 4e-3 changed gradients by a third of what bfloat16 itself does, over all of them (16 to 32 steps a level).
"""


@dataclass
class LevelPlan:
    """Which inputs of a level's steps are kept for the backward pass, and how well the others were found again.

    Attributes:
        name: of the level, for notes.
        steps: of flow, in encoding order.
        anchors: steps whose input is kept, rising from 0. What lies between two is found by inverses; a step on its
            own needs none.
        coarse: the conditioners compute in 16 bit.
        drift: the largest of the latest backward pass, over its segments of several steps; 0 where there is none, and
            infinite where an inverse does not exist or is not finite.
        notes: what a user should know, until somebody takes it.
        told: whether there has been a note.
    """

    name: str
    steps: Sequence[FlowStep]
    anchors: list[int]
    coarse: bool = False
    drift: float = 0.0
    notes: list[str] = field(default_factory=list)
    told: bool = False

    def parameters(self) -> list[nn.Parameter]:
        """Return those of all steps that are trained, each once."""
        found = (parameter for step in self.steps for parameter in step.parameters() if parameter.requires_grad)
        return list(dict.fromkeys(found))

    @property
    def limit(self) -> float:
        """The drift from which on an inverse is unsound."""
        return COARSE_DRIFT_LIMIT if self.coarse else DRIFT_LIMIT

    def give_up(self, start: int, stop: int, drift: float) -> None:
        """Keep one more input, in the middle of a segment whose inverse has become unsound."""
        self.anchors = sorted({*self.anchors, (start + stop) // 2})
        self._tell(start, stop, f"off by {drift:.1e}, at most {self.limit:.0e}")

    def take_over(self, anchors: Sequence[int]) -> None:
        """Keep the inputs too that another process had to begin to keep."""
        added = sorted(set(anchors) - set(self.anchors))
        if added:
            self.anchors = sorted({*self.anchors, *added})
            self._tell(0, len(self.steps), "found on the images of another process")

    def _tell(self, start: int, stop: int, why: str) -> None:
        if self.told:
            return
        self.told = True
        self.notes.append(
            f"{self.name}: steps {start + 1} to {stop} cannot be recomputed from their output ({why}); inputs of steps "
            "are kept there from now on. --conditioning-penalty keeps a model invertible, and --memory checkpoint "
            "needs no inverse"
        )


class RecomputingGlow(nn.Module):
    """A Glow's log_prob with the gradients of plain autograd and a fraction of its memory.

    It shares the model's parameters. Gradients of gradients are refused.

    Args:
        model: initialised.
        memory: `reversible` keeps the input of every level, `checkpoint` that of every step.
        coarse: the conditioners compute in 16 bit, and the way back by inverses is held to what that allows.
    """

    def __init__(self, model: Glow, *, memory: Literal["reversible", "checkpoint"], coarse: bool = False) -> None:
        super().__init__()
        self.model = model
        self._plans: dict[Level, LevelPlan] = {}
        for number, level in enumerate(model.flow_levels(), start=1):
            steps = level.flow_steps()
            anchors = [0] if memory == "reversible" else list(range(len(steps)))
            self._plans[level] = LevelPlan(name=f"level {number}", steps=steps, anchors=anchors, coarse=coarse)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return log_prob [N] in nats; arguments as for `Glow.encode`."""
        return self.model.encode(x, y, through=self.through)[1]

    def through(self, level: Level, h: Tensor) -> tuple[Tensor, Tensor]:
        """Take [N,C,H,W] through the steps of one of the model's levels; for `Glow.encode`."""
        plan = self._plans[level]
        y, log_det = _Recomputed.apply(plan, h, *plan.parameters())  # type: ignore[no-untyped-call]
        return y, log_det

    def plans(self) -> list[LevelPlan]:
        """Return those of the levels, finest first."""
        return list(self._plans.values())

    def set_anchors(self, anchors: Sequence[Sequence[int]]) -> None:
        """Keep these inputs of steps, level by level, without a note.

        Raises:
            ValueError: they are not of this model.
        """
        plans = self.plans()
        if len(anchors) != len(plans):
            raise ValueError(f"{len(anchors)} levels instead of {len(plans)}")
        for plan, found in zip(plans, anchors, strict=True):
            wanted = sorted({0, *found} & set(range(len(plan.steps))))
            if list(found) != wanted:
                raise ValueError(f"{plan.name} names other steps than its own")
            plan.anchors = wanted
            plan.told = len(wanted) > 1

    def anchor_flags(self) -> list[float]:
        """Return for every step, level by level, 1 where its input is kept and 0 elsewhere."""
        return [float(number in plan.anchors) for plan in self.plans() for number in range(len(plan.steps))]

    def take_over(self, flags: Sequence[float]) -> None:
        """Keep the inputs of steps that any process keeps.

        Args:
            flags: the sum of `anchor_flags` over the processes.
        """
        remaining = iter(flags)
        for plan in self.plans():
            plan.take_over([number for number in range(len(plan.steps)) if next(remaining) > 0])

    def take_notes(self) -> list[str]:
        """Return what has been noted since the last call."""
        notes = [note for plan in self.plans() for note in plan.notes]
        for plan in self.plans():
            plan.notes.clear()
        return notes


class _Recomputed(torch.autograd.Function):
    """The steps of a level as one node, whose backward pass goes through them segment by segment."""

    @staticmethod
    def forward(ctx: Any, plan: LevelPlan, h: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        total = h.new_zeros(h.shape[0])
        kept: list[Tensor] = []
        for number, step in enumerate(plan.steps):
            if number in plan.anchors:
                kept.append(h)
            h, log_det = step.encode(h)
            total = total + log_det
        ctx.plan, ctx.anchors = plan, tuple(plan.anchors)
        # The parameters cost nothing, and are then refused where something has changed them meanwhile.
        ctx.save_for_backward(h, *kept, *parameters)
        return h, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # As with create_graph=True. A recomputed gradient has no graph, and would count as a constant.
        if torch.is_grad_enabled():
            raise RuntimeError("recomputed activations give no gradients of gradients; take the model's own log_prob")
        gradient, of_log_det = gradients
        plan: LevelPlan = ctx.plan
        y, *rest = ctx.saved_tensors
        kept = rest[: len(ctx.anchors)]
        plan.drift = 0.0
        found: dict[Tensor, Tensor] = {}
        ends = [*ctx.anchors, len(plan.steps)]
        for (start, stop), x in reversed(list(zip(pairwise(ends), kept, strict=True))):
            gradient = _through_segment(plan, start, stop, x, y, gradient, of_log_det, found)
            y = x
        return None, gradient, *(found.get(parameter) for parameter in plan.parameters())


def _through_segment(
    plan: LevelPlan,
    start: int,
    stop: int,
    x: Tensor,
    y: Tensor,
    gradient: Tensor,
    of_log_det: Tensor,
    found: dict[Tensor, Tensor],
) -> Tensor:
    """Add the parameters' gradients of some steps to `found`, and return that of their input x."""
    steps = plan.steps[start:stop]
    if len(steps) > 1:
        drift, sound = _attempt(steps, x, y, gradient, of_log_det, limit=plan.limit)
        plan.drift = max(plan.drift, drift)
        if sound is not None:
            result, gradients = sound
            _add(found, gradients)
            return result
        plan.give_up(start, stop, drift)
    return _back_from_inputs(steps, x, gradient, of_log_det, found)


def _attempt(
    steps: Sequence[FlowStep], x: Tensor, y: Tensor, gradient: Tensor, of_log_det: Tensor, *, limit: float
) -> tuple[float, tuple[Tensor, dict[Tensor, Tensor]] | None]:
    """Return the drift of the way back by inverses and, where it is sound, the gradients of x and of parameters.

    What an unsound one has computed is let go of before the steps are run again.
    """
    gradients: dict[Tensor, Tensor] = {}
    try:
        again, result = _back_by_inverses(steps, y, gradient, of_log_det, gradients)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # a matrix that is exactly singular
        return math.inf, None
    drift = drift_between(again, x)
    if math.isnan(drift):
        drift = math.inf
    return drift, ((result, gradients) if drift <= limit else None)


def _back_by_inverses(
    steps: Sequence[FlowStep], y: Tensor, gradient: Tensor, of_log_det: Tensor, found: dict[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the steps' input, recomputed from their output, and its gradient."""
    for step in reversed(steps):
        for layer in reversed(step.layers()):
            with torch.enable_grad():
                inputs, again, log_det = layer.retrace(y)
            parts = _pull(again, log_det, inputs, layer.parameters(), gradient, of_log_det, found)
            y, gradient = torch.cat([part.detach() for part in inputs], dim=1), torch.cat(parts, dim=1)
    return y, gradient


def _back_from_inputs(
    steps: Sequence[FlowStep], x: Tensor, gradient: Tensor, of_log_det: Tensor, found: dict[Tensor, Tensor]
) -> Tensor:
    """Return the gradient of the steps' input x, with every step's own input recomputed from it."""
    inputs = [x]
    for step in steps[:-1]:
        inputs.append(step.encode(inputs[-1])[0])
    for step in reversed(steps):
        leaf = inputs.pop().detach().requires_grad_()
        with torch.enable_grad():
            y, log_det = step.encode(leaf)
        (gradient,) = _pull(y, log_det, (leaf,), step.parameters(), gradient, of_log_det, found)
    return gradient


def _pull(
    y: Tensor,
    log_det: Tensor,
    inputs: Sequence[Tensor],
    parameters: Iterable[nn.Parameter],
    gradient: Tensor,
    of_log_det: Tensor,
    found: dict[Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """Add the parameters' gradients to `found` and return those of the inputs."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    outputs, given = [y], [gradient]
    if log_det.requires_grad:
        outputs.append(log_det)
        given.append(of_log_det if log_det.dim() else of_log_det.sum())  # one number counts for every image
    results = torch.autograd.grad(outputs, [*inputs, *trained], given)
    _add(found, dict(zip(trained, results[len(inputs) :], strict=True)))
    return results[: len(inputs)]


def _add(found: dict[Tensor, Tensor], gradients: Mapping[Tensor, Tensor]) -> None:
    """Add gradients to those found so far; layers may share a parameter."""
    for parameter, gradient in gradients.items():
        before = found.get(parameter)
        found[parameter] = gradient if before is None else before + gradient


def drift_between(again: Tensor, kept: Tensor) -> float:
    """Return how far [N,C,H,W] is from what was kept, in the worst image.

    It is the rms over an image, relative to the rms of the kept image or of the kept batch, whichever is larger. A flat
    picture has next to none of its own, and rounding errors of the ordinary size would seem large beside it.
    """
    off, size = (part.flatten(1).square().mean(dim=1) for part in (again - kept, kept))
    scale = torch.maximum(size, size.mean()).sqrt()
    return float((off.sqrt() / scale.clamp(min=torch.finfo(kept.dtype).eps)).max())
