"""What a run will take: measured on a few of its images before the first step, without a trace in the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .memory import COPIES, LossPass, count_saved, loss_pass
from .optimization import make_optimizer
from .penalties import penalty_terms
from .precision import in_full_precision
from .progress import Forecast
from .sampler import generator_for
from .timing import CHEAP_SECONDS, seconds_of

if TYPE_CHECKING:
    from .run import Run

__all__ = ["forecast"]

# The first passes see a quarter of the batch: a large model shows its cost and its memory in little. An eighth foretold
# 5.9 s for a step of 3.2 s (L3 K32 W512, 64 images of 16x16): its smaller convolutions took longer for each image.
_FIRST_SHARE = 4
_FORWARD_SHARE = 1 / 3  # of the time of a step; the backward pass takes the rest


def forecast(run: Run) -> Forecast:
    """Measure a step of a run that is set up, and tell what its steps will take together.

    Weights, optimizer, averaged weights and random generators stay as they are: gradients are taken and thrown away,
    and the optimizer is tried on a copy of the weights.
    """
    settings, device = run.settings, run.fabric.device
    batch = math.ceil(settings.batch_size // run.fabric.world_size / settings.accumulate)
    trial = _Trial(run, loss_pass(run.model, run.memory, precision=settings.precision))
    few = max(1, batch // _FIRST_SHARE)
    kept = trial.kept_bytes(few) / few * batch  # also warms up the convolutions
    seconds = seconds_of(lambda: trial.gradients(few), device) / few * batch
    if few < batch and seconds < CHEAP_SECONDS:  # the whole batch is measured itself
        trial.gradients(batch)
        seconds = seconds_of(lambda: trial.gradients(batch), device)
    seconds *= settings.accumulate
    penalty_seconds, penalty_bytes = trial.penalties()
    seconds += penalty_seconds
    kept = max(kept, penalty_bytes)  # one after the other
    seconds += trial.update_seconds()
    weights = sum(parameter.nbytes for parameter in run.model.parameters())
    return _over_the_run(run, step_seconds=seconds, memory_bytes=int(COPIES * weights + kept))


def _over_the_run(run: Run, *, step_seconds: float, memory_bytes: int) -> Forecast:
    settings = run.settings
    steps = run.budget.steps_left(step=run.step)
    left = None if settings.max_seconds is None else max(0.0, settings.max_seconds - run.seconds)
    seconds = None
    if steps is not None:
        seconds = steps * step_seconds + _looks_seconds(run, steps, step_seconds)
    if left is not None and (seconds is None or left < seconds):
        seconds, steps = left, max(1, round(left / step_seconds))
    assert steps is not None
    assert seconds is not None
    return Forecast(
        step_seconds=step_seconds, steps=steps, seconds=seconds, memory_bytes=memory_bytes, memory=run.memory
    )


def _looks_seconds(run: Run, steps: int, step_seconds: float) -> float:
    """Validations and sample grids, which need forward passes only."""
    settings = run.settings
    images = len(run.validation_images)
    if settings.validation_images is not None:
        images = min(images, settings.validation_images)
    images *= _times(steps, settings.validate_every)
    samples = settings.sample_count * _times(steps, settings.sample_every)
    return (images + samples) / settings.batch_size * step_seconds * _FORWARD_SHARE


def _times(steps: int, every: int | None) -> int:
    """How often something happens that is due every so many steps, and at the end."""
    return 1 if every is None else math.ceil(steps / every)


@dataclass(frozen=True)
class _Trial:
    """Passes of a run's model over images of its next batch.

    Attributes:
        run: that is forecast.
        log_prob: of its model, with activations kept as in the run but with no trace left in it.
    """

    run: Run
    log_prob: LossPass

    def inputs(self, count: int) -> tuple[Tensor, Tensor | None]:
        """The first images of the next batch, with noise of their own."""
        run, step = self.run, self.run.step + 1
        return run.inputs(run.sampler.batch(step)[:count], generator_for(run.settings.seed, "forecast", step))

    def gradients(self, count: int) -> Sequence[Tensor]:
        """What one process does for `count` images of a step."""
        x, y = self.inputs(count)
        loss = -self.log_prob(x, y).mean()
        return torch.autograd.grad(loss, list(self.run.model.parameters()), allow_unused=True)

    def kept_bytes(self, count: int) -> int:
        """Bytes kept for the backward pass over `count` images, at the height of it; weights are not counted."""
        with count_saved(self.run.model) as counter:
            self.gradients(count)
        return counter.peak

    def penalties(self) -> tuple[float, int]:
        """Seconds that the penalties take in a step, of those that are on, and bytes that they keep."""
        run, settings = self.run, self.run.settings
        if settings.inverse_penalty == 0 and settings.conditioning_penalty == 0:
            return 0.0, 0
        every = settings.inverse_penalty_every
        x, y = self.inputs(settings.inverse_penalty_images)

        def measure(step: int) -> None:
            with in_full_precision(run.model):
                take(step)

        def take(step: int) -> None:
            checkpointed = run.memory != "plain"
            terms = penalty_terms(run.model, x, y, settings=settings, step=step, checkpointed=checkpointed)
            if terms.objective is not None and terms.objective.requires_grad:
                torch.autograd.grad(terms.objective, list(run.model.parameters()), allow_unused=True)

        with count_saved(run.model) as counter:
            measure(every)
        due = seconds_of(lambda: measure(every), run.fabric.device)
        if every == 1:
            return due, counter.peak
        others = seconds_of(lambda: measure(every + 1), run.fabric.device)
        return others + max(0.0, due - others) / every, counter.peak

    def update_seconds(self) -> float:
        """Time of the optimizer and of the averaged weights, on copies."""
        copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in self.run.model.parameters()]
        for copy in copies:
            copy.grad = torch.zeros_like(copy)
        optimizer = make_optimizer(copies, self.run.settings)

        def update() -> None:
            torch.nn.utils.clip_grad_norm_(copies, 1.0)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp([copy.detach() for copy in copies], [copy.detach() for copy in copies], 0.5)

        update()  # allocates the moments
        return seconds_of(update, self.run.fabric.device)
