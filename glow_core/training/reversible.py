"""Gradients of a Glow that keep next to nothing of the forward pass: the steps are recomputed in the backward pass.

Gomez et al. 2017 (arXiv:1707.04585) train reversible networks this way; a Glow is one by construction. Only the input
of a segment of steps is kept, and the output of the last. From the output each layer's input is found by its inverse,
and the layer is run again for its gradients, so that there are the activations of one conditioner at a time.

The input that is kept is what guards the way back: where the recomputed one strays from it, the segment is gone through
once more from the kept input, step by step, so that no gradient is ever taken from a bad reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glow_core.model import FlowStep, Glow, Level

__all__ = ["DRIFT_LIMIT", "LevelPlan", "RecomputingGlow", "drift_between"]

DRIFT_LIMIT = 1e-5
"""Of a recomputed input, rms relative to that of the kept one, in the worst image of a batch.

Chosen by measurement in float32, on a model of 8 steps with one 1x1 convolution of growing condition number. At a drift
of 7e-6 the gradients were off by 5e-6, where plain autograd's own were by 7e-7; at 7e-5, by 1e-2, since ReLUs switch.
Sound models drift by about 1e-6.
"""


@dataclass
class LevelPlan:
    """Which inputs of a level's steps are kept for the backward pass, and how well the others were found again.

    Attributes:
        name: of the level, for notes.
        steps: of flow, in encoding order.
        anchors: steps whose input is kept, rising from 0. What lies between two is found by inverses; a step on its
            own needs none.
        drift: the largest of the latest backward pass, over its segments of several steps; 0 where there is none.
        notes: what a user should know, until somebody takes it.
        told: whether there has been a note.
    """

    name: str
    steps: Sequence[FlowStep]
    anchors: list[int]
    drift: float = 0.0
    notes: list[str] = field(default_factory=list)
    told: bool = False

    def parameters(self) -> list[nn.Parameter]:
        """Return those of all steps that are trained."""
        return [parameter for step in self.steps for parameter in step.parameters() if parameter.requires_grad]

    def give_up(self, start: int, stop: int, drift: float) -> None:
        """Keep one more input, in the middle of a segment whose inverse has become unsound."""
        middle = (start + stop) // 2
        if middle not in self.anchors:
            self.anchors = sorted([*self.anchors, middle])
        if not self.told:
            self.told = True
            self.notes.append(
                f"{self.name}: steps {start + 1} to {stop} cannot be recomputed from their output any more "
                f"(off by {drift:.1e}, at most {DRIFT_LIMIT:.0e}); inputs of steps are kept there from now on"
            )


class RecomputingGlow(nn.Module):
    """A Glow's log_prob with the gradients of plain autograd and a fraction of its memory.

    It shares the model's parameters. Gradients of gradients are not there.

    Args:
        model: initialised.
        memory: `reversible` keeps the input of every level, `checkpoint` that of every step.
    """

    def __init__(self, model: Glow, *, memory: Literal["reversible", "checkpoint"]) -> None:
        super().__init__()
        self.model = model
        self._plans: dict[Level, LevelPlan] = {}
        for number, level in enumerate(model.flow_levels(), start=1):
            steps = level.flow_steps()
            anchors = [0] if memory == "reversible" else list(range(len(steps)))
            self._plans[level] = LevelPlan(name=f"level {number}", steps=steps, anchors=anchors)

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
        attempt: dict[Tensor, Tensor] = {}
        again, result = _back_by_inverses(steps, y, gradient, of_log_det, attempt)
        drift = drift_between(again, x)
        plan.drift = max(plan.drift, drift)
        if drift <= DRIFT_LIMIT:  # false for NaN too
            found.update(attempt)
            return result
        plan.give_up(start, stop, drift)
    return _back_from_inputs(steps, x, gradient, of_log_det, found)


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
    found.update(zip(trained, results[len(inputs) :], strict=True))
    return results[: len(inputs)]


def drift_between(again: Tensor, kept: Tensor) -> float:
    """Return how far [N,C,H,W] is from what was kept: rms over an image relative to the kept one's, of the worst."""
    off, size = (part.flatten(1).square().mean(dim=1).sqrt() for part in (again - kept, kept))
    return float((off / size.clamp(min=torch.finfo(kept.dtype).eps)).max())
