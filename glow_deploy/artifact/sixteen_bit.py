"""What an export measured of graphs in 16 bit, as `numerics.precision` of a manifest holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .figures import ErrorFigures
from .json_values import count, entry, json_number, number_or_null, sequence, table, text

__all__ = ["ChoiceFigures", "PrecisionFigures", "RangeFigures", "StepChoice", "TensorFigures"]


@dataclass(frozen=True, kw_only=True)
class TensorFigures:
    """The values of one tensor that is held in 16 bit.

    Attributes:
        name: of the tensor.
        number: `fp16` or `bf16`.
        largest: |value|.
        headroom_bits: how often it can double before it overflows; negative where it does, infinite for zeros.
        subnormal_share: of the values that are below the smallest normal number, 0 to 1.
        non_finite: values that overflowed.
    """

    name: str
    number: str
    largest: float
    headroom_bits: float
    subnormal_share: float
    non_finite: int

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> TensorFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        return cls(
            name=text(found, "name", where=where),
            number=text(found, "number", where=where),
            largest=number_or_null(found, "largest", where=where, null=math.inf),
            headroom_bits=number_or_null(found, "headroom_bits", where=where, null=math.inf),
            subnormal_share=number_or_null(found, "subnormal_share", where=where),
            non_finite=count(found, "non_finite", where=where),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "number": self.number,
            "largest": json_number(self.largest),
            "headroom_bits": json_number(self.headroom_bits),
            "subnormal_share": json_number(self.subnormal_share),
            "non_finite": self.non_finite,
        }


@dataclass(frozen=True, kw_only=True)
class RangeFigures:
    """How far the values that are held in 16 bit are from overflow.

    Attributes:
        images: how many they were measured on.
        headroom_bits: step -> that of its least tensor; infinite where all its values are zero.
        worst: the tensor that has least; None where nothing is held in 16 bit.
    """

    images: int
    headroom_bits: Mapping[str, float]
    worst: TensorFigures | None

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> RangeFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        place = f"{where}.headroom_bits"
        bits = table(found.get("headroom_bits"), place)
        worst = entry(found, "worst", where=where)
        return cls(
            images=count(found, "images", where=where),
            headroom_bits={step: number_or_null(bits, step, where=place, null=math.inf) for step in bits},
            worst=None if worst is None else TensorFigures.from_dict(worst, where=f"{where}.worst"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "headroom_bits": {step: json_number(bits) for step, bits in self.headroom_bits.items()},
            "worst": None if self.worst is None else self.worst.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class StepChoice:
    """What `auto` chose for one step of flow.

    Attributes:
        step: path, `level1/step01`.
        number: `fp16` or `fp32`.
        gain: decode gain, rms: error of x for an error of 1 after this step.
        predicted: rms error of x in pixel steps with this step and those before it in the order in float16.
        share: of the multiply-adds of both graphs.
        reason: why it was kept in float32; empty for a step in float16.
    """

    step: str
    number: str
    gain: float
    predicted: float
    share: float
    reason: str

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> StepChoice:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        return cls(
            step=text(found, "step", where=where),
            number=text(found, "number", where=where),
            gain=number_or_null(found, "gain", where=where),
            predicted=number_or_null(found, "predicted", where=where),
            share=number_or_null(found, "share", where=where),
            reason=text(found, "reason", where=where),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        figures = {"gain": self.gain, "predicted": self.predicted, "share": self.share}
        return {
            "step": self.step,
            "number": self.number,
            **{name: json_number(value) for name, value in figures.items()},
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class ChoiceFigures:
    """What `auto` chose, and what it stands on; pixel errors in pixel steps.

    Attributes:
        tolerance: largest error of x -> z -> x that was asked for.
        n: calibration images.
        bound: with `confidence` fewer than this share of images like these are beyond the tolerance.
        confidence: 0 to 1.
        share: of the multiply-adds of both graphs that run in float16.
        simulations: round trips of all calibration images that the choice took.
        tail: 99th percentile of their largest errors.
        worst: the largest of them.
        tail_margin: `tail` had to be this many times below the tolerance.
        worst_margin: likewise `worst`.
        steps: in encoding order.
    """

    tolerance: float
    n: int
    bound: float
    confidence: float
    share: float
    simulations: int
    tail: float
    worst: float
    tail_margin: float
    worst_margin: float
    steps: tuple[StepChoice, ...]

    @property
    def kept(self) -> tuple[StepChoice, ...]:
        """The steps that stay in float32."""
        return tuple(step for step in self.steps if step.number == "fp32")

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> ChoiceFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        steps = sequence(found.get("steps"), f"{where}.steps")
        return cls(
            tolerance=number_or_null(found, "tolerance", where=where),
            n=count(found, "n", where=where),
            bound=number_or_null(found, "bound", where=where),
            # The first releases knew one, and did not write it down.
            confidence=number_or_null({"confidence": 0.95, **found}, "confidence", where=where),
            share=number_or_null(found, "share", where=where),
            simulations=count(found, "simulations", where=where),
            tail=number_or_null(found, "tail", where=where),
            worst=number_or_null(found, "worst", where=where),
            tail_margin=number_or_null(found, "tail_margin", where=where),
            worst_margin=number_or_null(found, "worst_margin", where=where),
            steps=tuple(StepChoice.from_dict(step, where=f"{where}.steps[{i}]") for i, step in enumerate(steps)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "tolerance": json_number(self.tolerance),
            "n": self.n,
            "bound": self.bound,
            "confidence": self.confidence,
            "share": self.share,
            "simulations": self.simulations,
            "tail": json_number(self.tail),
            "worst": json_number(self.worst),
            "tail_margin": self.tail_margin,
            "worst_margin": self.worst_margin,
            "steps": [step.to_dict() for step in self.steps],
        }


@dataclass(frozen=True, kw_only=True)
class PrecisionFigures:
    """What graphs in 16 bit gave at export.

    Attributes:
        plan: what runs in 16 bit, as `glow_deploy.graphs.precision_plan.PrecisionPlan` writes and reads it.
        share_16_bit: of the multiply-adds of both graphs, 0 to 1.
        measured_on: what `figures` are of: `simulation`.
        figures: the errors that backends which round are held to.
        exact_images: of `figures.n`, those that came back exactly.
        onnxruntime_cpu: errors in ONNX Runtime on the CPU; None where it cannot run the graphs.
        ranges: how far from overflow the values are.
        choice: of an `auto` plan.
    """

    plan: Mapping[str, Any]
    share_16_bit: float
    measured_on: str
    figures: ErrorFigures
    exact_images: int
    onnxruntime_cpu: ErrorFigures | None
    ranges: RangeFigures
    choice: ChoiceFigures | None

    @classmethod
    def from_dict(cls, values: object, *, levels: int, where: str) -> PrecisionFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        on_cpu = entry(found, "onnxruntime_cpu", where=where)
        choice = entry(found, "choice", where=where)
        figures = entry(found, "figures", where=where)
        return cls(
            plan=table(found.get("plan"), f"{where}.plan"),
            share_16_bit=number_or_null(found, "share_16_bit", where=where),
            measured_on=text(found, "measured_on", where=where),
            figures=ErrorFigures.from_dict(figures, levels=levels, where=f"{where}.figures"),
            exact_images=count(found, "exact_images", where=where),
            onnxruntime_cpu=None
            if on_cpu is None
            else ErrorFigures.from_dict(on_cpu, levels=levels, where=f"{where}.onnxruntime_cpu"),
            ranges=RangeFigures.from_dict(found.get("ranges"), where=f"{where}.ranges"),
            choice=None if choice is None else ChoiceFigures.from_dict(choice, where=f"{where}.choice"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "plan": dict(self.plan),
            "share_16_bit": self.share_16_bit,
            "measured_on": self.measured_on,
            "figures": self.figures.to_dict(),
            "exact_images": self.exact_images,
            "onnxruntime_cpu": None if self.onnxruntime_cpu is None else self.onnxruntime_cpu.to_dict(),
            "ranges": self.ranges.to_dict(),
            "choice": None if self.choice is None else self.choice.to_dict(),
        }
