"""What rounding to fewer bits does to values, and where a simulation rounds.

All roundings are to nearest, ties to even. What is beyond the largest value becomes infinite; values below the smallest
normal one keep what bits the format has for them (subnormals), as GPUs do for float16 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from glow_deploy.errors import UsageError
from glow_deploy.folding.arrays import FoldedGlow

from .precision_plan import LARGEST, ElementType, PrecisionPlan, step_paths

__all__ = ["MODES", "UNIT_ROUNDOFF", "Mode", "Rounding", "narrowed", "round_values"]

Mode = Literal["fp32", "tf32", "fp16", "bf16"]
"""float32; TF32, which rounds a convolution's operands to 11 bits and keeps float32's range; float16; bfloat16."""

MODES: tuple[Mode, ...] = get_args(Mode)

UNIT_ROUNDOFF: Mapping[Mode, float] = {"fp32": 2.0**-24, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}
"""The largest relative error of one rounding of a normal value."""

_LONG: Mapping[ElementType, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What a simulation rounds.

    Unlike a plan it may hold any combination, TF32 and a rounded trunk included, since nothing is built from it.

    Attributes:
        trunk: of everything outside the conditioners, log-determinants and densities excepted.
        conditioners: step path (`level1/step01`) -> mode, one entry for every step.

    Raises:
        UsageError: a mode is none of `MODES`.
    """

    trunk: Mode
    conditioners: Mapping[str, Mode]

    def __post_init__(self) -> None:
        for mode in (self.trunk, *self.conditioners.values()):
            if mode not in MODES:
                raise UsageError(f"there is no rounding to {str(mode)[:40]!r}: choose one of {', '.join(MODES)}")

    @classmethod
    def uniform(
        cls, steps: FoldedGlow | Sequence[str], *, conditioners: Mode = "fp32", trunk: Mode = "fp32"
    ) -> Rounding:
        """Round all steps alike.

        Args:
            steps: the model, or the paths of its steps.
            conditioners: mode of every conditioner.
            trunk: mode of the rest.
        """
        return cls(trunk=trunk, conditioners=dict.fromkeys(step_paths(steps), conditioners))

    @classmethod
    def of(cls, plan: PrecisionPlan) -> Rounding:
        """Round what the graphs of a plan hold in 16 bit."""
        return cls(trunk=plan.trunk, conditioners=cast(Mapping[str, Mode], plan.conditioners))

    @property
    def label(self) -> str:
        """For people: `conditioners fp16, trunk fp32`, `conditioners 5 fp16 and 3 fp32, trunk fp32`."""
        held = list(self.conditioners.values())
        counts = [(held.count(mode), mode) for mode in MODES if mode in held]
        words = counts[0][1] if len(counts) == 1 else " and ".join(f"{count} {mode}" for count, mode in counts)
        return f"conditioners {words}, trunk {self.trunk}"


def round_values(values: np.ndarray, mode: Mode) -> np.ndarray:
    """Round, and give the result back in float32.

    Args:
        values: of any float type and shape; they are taken as float32 first, as a graph holds them.
        mode: the format rounded to.
    """
    single = np.asarray(values, dtype=np.float32)
    if mode == "fp32":
        return single
    if mode == "tf32":
        return _to_tf32(single)
    with np.errstate(over="ignore"):
        return single.astype(_dtype(mode)).astype(np.float32)


def narrowed(values: np.ndarray, number: ElementType, *, name: str) -> np.ndarray:
    """Return weights as they are stored in a number.

    Args:
        values: of any float type and shape.
        number: to store them in.
        name: of the weight, for the message.

    Returns:
        A contiguous array of the number's own dtype, little-endian.

    Raises:
        UsageError: a value is beyond the largest of the number.
    """
    # By way of float32, so that narrowing an exported float32 graph gives the same bits.
    single = np.asarray(values, dtype="<f4", order="C")
    if number == "fp32":
        return single
    with np.errstate(over="ignore"):
        narrow = single.astype(_dtype(number), order="C")
    if not np.isfinite(narrow).all():
        raise UsageError(
            f"weight {name} reaches {float(np.abs(single).max()):.3g}, beyond {LARGEST[number]:.6g}, the largest "
            f"value of {_LONG[number]}: keep that step in float32 with precision auto, or export with precision "
            "bf16-mixed or fp32"
        )
    return narrow


def _dtype(mode: Mode) -> np.dtype:
    import ml_dtypes

    return np.dtype("<f2") if mode == "fp16" else np.dtype(ml_dtypes.bfloat16)


def _to_tf32(single: np.ndarray) -> np.ndarray:
    """Keep 10 of the 23 stored bits of the significand; a carry runs on into the exponent, as it should."""
    bits = np.ascontiguousarray(single).view(np.uint32)
    odd = (bits >> np.uint32(13)) & np.uint32(1)
    rounded = (bits + np.uint32(0xFFF) + odd) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(single), rounded.view(np.float32), single).reshape(single.shape)
