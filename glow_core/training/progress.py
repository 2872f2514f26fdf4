"""What a run reports while it goes on, and at its end. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Event", "Forecast", "Progress", "StopReason", "TrainResult"]

Event = Literal["start", "step", "validation", "samples", "checkpoint", "note"]
StopReason = Literal["steps", "epochs", "time", "terminated"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a run after an event.

    Attributes:
        event: what has just happened.
        step: optimizer steps done, earlier sessions included.
        epoch: passes over the training images done.
        seconds: training time, earlier sessions included.
        fraction: share of the budget that is used up, 0 to 1.
        steps_per_second: over the latest steps of this session; None before the second step.
        eta_seconds: expected time to the end; None while no rate is known.
        bits_per_dim: of the latest training batch; None before the first.
        validation_bits_per_dim: latest validation, averaged weights; None before the first.
        best_bits_per_dim: lowest validation so far; None before the first.
        non_finite_samples: left out of the grid just drawn; of event `samples` alone.
        note: what a user should know of the run, in one line; of event `note` alone.
    """

    event: Event
    step: int
    epoch: float
    seconds: float
    fraction: float
    steps_per_second: float | None
    eta_seconds: float | None
    bits_per_dim: float | None
    validation_bits_per_dim: float | None
    best_bits_per_dim: float | None
    non_finite_samples: int | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a session of a run will take, measured before its first step.

    Attributes:
        step_seconds: one optimizer step.
        steps: those until the end of the run.
        seconds: training time until then, validations and sample grids included.
        memory_bytes: tensors at the height of a step, in one process: weights, gradients, the optimizer's moments,
            averaged weights, and what the backward pass needs of the forward pass. What PyTorch itself takes comes on
            top.
        memory: how activations are kept, as in `TrainSettings.memory`.
    """

    step_seconds: float
    steps: int
    seconds: float
    memory_bytes: int
    memory: Literal["plain", "checkpoint", "reversible"] = "plain"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        checkpoint: `ckpt.pt`, from which the run can be resumed or exported.
        weights: `model.safetensors`, the averaged weights; None where the run was stopped before its end.
        step: optimizer steps done, earlier sessions included.
        epoch: passes over the training images done.
        seconds: training time, earlier sessions included.
        stopped: which budget ran out, or `terminated` for SIGTERM.
        validation_bits_per_dim: latest validation, averaged weights; None if there was none.
        best_bits_per_dim: lowest validation of the run; None if there was none.
    """

    checkpoint: Path
    weights: Path | None
    step: int
    epoch: float
    seconds: float
    stopped: StopReason
    validation_bits_per_dim: float | None
    best_bits_per_dim: float | None
