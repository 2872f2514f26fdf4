"""What the canary found: plain values, ready for a table or a JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .formats import Mode

__all__ = ["CanaryResult", "CanaryUnavailable", "ConvolutionResult", "Detected"]

Detected = Literal["fp32", "tf32", "bf16", "fp16", "unknown"]

_WORDS: dict[Detected, str] = {
    "fp32": "float32",
    "tf32": "TF32!",
    "bf16": "bfloat16!",
    "fp16": "float16!",
    "unknown": "unknown",
}


@dataclass(frozen=True, kw_only=True)
class ConvolutionResult:
    """What one kind of convolution was found to run in.

    Attributes:
        detected: the number format of its operands, or `unknown`.
        error: rms error over the rms of the exact result; NaN where there is none (non-finite or missing values).
        expected: the same figure as predicted for each format, operands rounded to nearest.
        distance: for each format, rms distance of the result from the nearest one predicted for it, same unit.
        margin: how many times nearer the nearest format is than the next one; 1 is undecided.
        rounding: how operands and result of the nearest prediction are rounded, in words; empty for float32.
        reason: why nothing was detected; else empty.
    """

    detected: Detected
    error: float
    expected: Mapping[Mode, float]
    distance: Mapping[Mode, float]
    margin: float
    rounding: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; what is not finite is null."""
        return {
            "detected": self.detected,
            "error": _finite(self.error),
            "expected": {mode: _finite(value) for mode, value in self.expected.items()},
            "distance": {mode: _finite(value) for mode, value in self.distance.items()},
            "margin": _finite(self.margin),
            "rounding": self.rounding,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class CanaryResult:
    """What a backend was found to run in.

    Attributes:
        convolutions: by kind (`1x1`, `3x3`).
    """

    convolutions: Mapping[str, ConvolutionResult]

    @property
    def decisive(self) -> ConvolutionResult:
        """The convolution that the figures below are of: the least precise one known; else an unknown one.

        One kernel in TF32 makes a backend a TF32 backend, whatever can be said of the others.
        """
        return max(self.convolutions.values(), key=_severity)

    @property
    def detected(self) -> Detected:
        """The number format of the operands; `fp32` only where every convolution runs in it."""
        return self.decisive.detected

    @property
    def error(self) -> float:
        """Relative rms error; NaN where there is none."""
        return self.decisive.error

    @property
    def expected(self) -> Mapping[Mode, float]:
        """What the error would be in each format."""
        return self.decisive.expected

    @property
    def margin(self) -> float:
        """How many times nearer the result is to what was detected than to anything else."""
        return self.decisive.margin

    @property
    def reason(self) -> str:
        """Why nothing was detected; else empty."""
        return self.decisive.reason

    @property
    def float32(self) -> bool:
        """True where every convolution was seen to run in float32."""
        return self.detected == "fp32"

    @property
    def text(self) -> str:
        """For the cell of a table: `float32 (measured)`, `TF32!`, `1x1 TF32!, 3x3 float32`, ..."""
        found = {kind: result.detected for kind, result in self.convolutions.items()}
        if len(set(found.values())) > 1:
            return ", ".join(f"{kind} {_WORDS[detected]}" for kind, detected in found.items())
        return "float32 (measured)" if self.float32 else _WORDS[self.detected]

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; what is not finite is null."""
        return {
            "detected": self.detected,
            "error": _finite(self.error),
            "expected": {mode: _finite(value) for mode, value in self.expected.items()},
            "margin": _finite(self.margin),
            "text": self.text,
            "reason": self.reason,
            "convolutions": {kind: result.to_dict() for kind, result in self.convolutions.items()},
        }


@dataclass(frozen=True, kw_only=True)
class CanaryUnavailable:
    """The canary could not be run: nothing is known, least of all that the backend computes in float32.

    Attributes:
        reason: why, and what to do.
    """

    reason: str

    @property
    def text(self) -> str:
        """For the cell of a table."""
        return "not measured"

    def to_dict(self) -> None:
        """For the JSON report: null. The reason belongs among the notes."""
        return None


def _severity(found: ConvolutionResult) -> tuple[int, float]:
    """What is known to be reduced comes last, before it what is not known to be float32."""
    order: tuple[Detected, ...] = ("fp32", "unknown", "tf32", "bf16", "fp16")
    return order.index(found.detected), math.inf if math.isnan(found.error) else found.error


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
