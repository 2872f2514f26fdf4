"""What `verify --steps` found: plain values, ready for a table or the JSON report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Direction", "Jump", "JumpKind", "StepRow", "StepsBackend", "StepsReport", "WeightFault"]

Direction = Literal["encode", "decode"]

JumpKind = Literal["weights", "overflow", "arithmetic", "conditioning", "gain", "undo", "reference"]
"""What was out of bounds.

`weights`: the graphs do not hold the same model. `overflow`: a value that is not finite. `arithmetic`: a local error
beyond what the step's number explains. `conditioning`: a local error that rounding explains, in a step that magnifies
its own rounding. `gain`: a step that magnifies the error it is handed. `undo`: the decoder's step does not undo the
encoder's although their weights agree. `reference`: both graphs agree with each other and not with the trained model.
"""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One step of flow, split or prior on one backend, in one direction; rms and max over all images.

    Attributes:
        step: `level1/step01`, `level1/split`, `prior`.
        direction: `encode`: the tensor after the step; `decode`: the tensor after its inverse, from float64 latents.
        rms: of that tensor in float64.
        observed_rms: of the backend's tensor minus the float64 one.
        observed_max: largest |difference|.
        predicted_rms: expected given the error before the step: that error carried through the step in float64, and the
            step's own rounding.
        non_finite: values that are not finite although float64's are. The other figures leave them out.
        local_rms: the step's own error: the backend's tensor minus the float64 step started from the backend's own
            tensor before it.
        local_predicted: what rounding to the number that the step should run in explains of it.
        gain: error carried through the step in float64 over the error before it; None where there was none before.
        undo_rms: of the graph's own step in float64 minus the reference: what its weights alone get wrong.
        reference_non_finite: values that are not finite in float64 either.
    """

    step: str
    direction: Direction
    rms: float
    observed_rms: float
    observed_max: float
    predicted_rms: float
    non_finite: int
    local_rms: float
    local_predicted: float
    gain: float | None
    undo_rms: float
    reference_non_finite: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; figures that do not exist are null."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A step that was named, and why.

    Attributes:
        step: as in `StepRow`; a whole level (`level2`) where nothing tells its steps apart.
        direction: of the graph at fault, `encode` the encoder's; None where one of the two is and nothing tells which.
        kind: see `JumpKind`.
        ratio: how far the figure lies above what a sound step shows; infinite for an overflow.
        limit: the ratio from which it is named.
        cause: a sentence.
        advice: what to do.
    """

    step: str
    direction: Direction | None
    kind: JumpKind
    ratio: float
    limit: float
    cause: str
    advice: str

    def __str__(self) -> str:
        where = {"encode": "encoder", "decode": "decoder", None: "encoder or decoder"}[self.direction]
        return f"{self.step} of the {where}: {self.cause}; {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; an infinite ratio is null."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class WeightFault:
    """A step whose stored weights do not agree between the graphs, or with the trained model.

    Attributes:
        step: `level1/step01`, `level1/split`, `prior`.
        weight: `invconv`, `conv1` ... `conv3`, `split`, `mean`, `scale`.
        direction: whose weights are wrong; None where that could not be told.
        difference: largest difference over what rounding allows; infinite for another shape.
        detail: a sentence.
        coarse: says so where a float32 weight there holds no more digits than a narrower number would; else empty.
    """

    step: str
    weight: str
    direction: Direction | None
    difference: float
    detail: str
    coarse: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class StepsBackend:
    """One backend.

    Attributes:
        backend: `onnxruntime-cpu`, ...
        reason: why it did not run; empty where it did.
        details: provider, device, precision, TF32 and versions of what ran.
        probe_difference: largest |difference| between a latent of the graph with taps and of the graph itself on the
            same backend; 0 where looking in changed nothing, None where the graph itself could not be run.
        rows: encoding, then decoding, each in the order of computation.
        jumps: every step named, in the order in which they should be looked at.
    """

    backend: str
    reason: str = ""
    details: Mapping[str, Any] | None = None
    probe_difference: float | None = None
    rows: tuple[StepRow, ...] = ()
    jumps: tuple[Jump, ...] = ()

    @property
    def used(self) -> bool:
        """True where it ran."""
        return not self.reason

    @property
    def first_jump(self) -> Jump | None:
        """The step to look at first."""
        return self.jumps[0] if self.jumps else None

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "backend": self.backend,
            "used": self.used,
            "reason": self.reason,
            "details": None if self.details is None else dict(self.details),
            "probe_difference": _plain(self.probe_difference),
            "rows": [row.to_dict() for row in self.rows],
            "first_jump": None if self.first_jump is None else self.first_jump.to_dict(),
            "jumps": [jump.to_dict() for jump in self.jumps],
        }


@dataclass(frozen=True, kw_only=True)
class StepsReport:
    """All backends.

    Attributes:
        images: images looked at.
        backends: those that ran, then those that could not.
        weights: the graphs' weights, compared in float64; empty where they agree.
        reference: what the float64 tensors come from.
        seconds: it took.
    """

    images: int
    backends: tuple[StepsBackend, ...]
    weights: tuple[WeightFault, ...]
    reference: str
    seconds: float

    @property
    def first_jump(self) -> Jump | None:
        """The step to look at first, of the first backend that names one."""
        return next((backend.first_jump for backend in self.backends if backend.first_jump is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report, under the key `steps`."""
        return {
            "images": self.images,
            "reference": self.reference,
            "seconds": self.seconds,
            "weights": [fault.to_dict() for fault in self.weights],
            "backends": [backend.to_dict() for backend in self.backends],
        }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
