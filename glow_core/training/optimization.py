"""Optimizer, learning rate, and the check that stops a run whose numbers have gone bad."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .settings import TrainSettings

__all__ = ["first_non_finite", "learning_rate", "make_optimizer", "set_hyperparameters"]

_DECAYED = 0.01


def make_optimizer(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """Return Adamax or Adam (Kingma & Ba 2015, sections 2 and 7)."""
    kind = torch.optim.Adamax if settings.optimizer == "adamax" else torch.optim.Adam
    # One call for all tensors rather than one for each: a Glow has hundreds of small ones.
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def learning_rate(step: int, settings: TrainSettings, *, progress: float = 0.0) -> float:
    """Return the learning rate of a step.

    Args:
        step: counted from 1.
        settings: learning rate, warm-up and decay.
        progress: share of the budget that is used up, 0 to 1.
    """
    rate = settings.learning_rate
    if step < settings.warmup_steps:
        rate *= step / settings.warmup_steps
    if settings.decay > 0:
        rate *= max(_DECAYED, min(1.0, (1 - progress) / settings.decay))
    return rate


def set_hyperparameters(optimizer: torch.optim.Optimizer, settings: TrainSettings, *, rate: float) -> None:
    """Put the learning rate of the coming step and the weight decay in force."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = settings.weight_decay
        group["betas"] = settings.betas


def first_non_finite(*modules: tuple[str, nn.Module], optimizer: torch.optim.Optimizer | None = None) -> str | None:
    """Return the name of a tensor that holds an infinity or a NaN, or None where all are finite.

    Args:
        modules: pairs of a name for messages and a module, whose parameters and buffers are examined.
        optimizer: its moments are examined too.
    """
    named: list[tuple[str, Tensor]] = [
        (f"{prefix} {name}", tensor.detach())
        for prefix, module in modules
        for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers())
        if tensor.is_floating_point()
    ]
    if optimizer is not None:
        for number, state in enumerate(optimizer.state.values()):
            named.extend(
                (f"optimizer {key} {number}", value)
                for key, value in state.items()
                if isinstance(value, Tensor) and value.is_floating_point()
            )
    if not named:
        return None
    # A sum is non-finite if an entry is; the reverse can fail only by overflow, so a suspect is looked at closely.
    sums = torch.stack([tensor.sum(dtype=torch.float64).cpu() for _, tensor in named])
    for (name, tensor), finite in zip(named, torch.isfinite(sums).tolist(), strict=True):
        if not finite and not bool(torch.isfinite(tensor).all()):
            return name
    return None
