"""Exponential moving average of the weights, the ones that samples and exports use."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from glow_core.model import Glow

__all__ = ["AveragedWeights", "decay_at"]


def decay_at(step: int, *, decay: float) -> float:
    """Return min(decay, (1 + step) / (10 + step)), so that early averages soon forget the initial weights."""
    return min(decay, (1 + step) / (10 + step))


class AveragedWeights:
    """A copy of the model whose parameters follow `average += (1 - decay) * (weights - average)`.

    Buffers (permutations, actnorm flags) are copied, never averaged.

    Args:
        model: initialised; the average starts at its weights.
        decay: as in `TrainSettings.ema_decay`.
    """

    def __init__(self, model: Glow, *, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update(self, model: Glow, *, step: int) -> None:
        """Move towards the weights after optimizer step `step`, counted from 1."""
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay_at(step, decay=self.decay))
        for mine, other in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(other)
