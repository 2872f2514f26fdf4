"""The round-trip error that a precision will show, from gains measured in float64.

**One precision for everything.** Each step adds an error of about u times the size of its output, which decoding the
rest multiplies by the step's gain: rms(x_hat - x) = c u Γ with Γ² the sum over steps of (gain · rms)². The factor c
stands for the number of roundings in a step and is fitted (`TRUNK_FACTOR`).

**Narrow conditioners in a float32 trunk.** The same conditioner runs in both directions. As long as both runs round
their input to the same narrow values, all that follows is equal to the last bit, and the error is that of float32. But
the decoder reproduces the input only up to an error e of the trunk, and a value within e of a rounding boundary is
rounded the other way. Such a *jump* has probability |e| / (2 u_c |h|) a value, so a step sees on average
λ = a · n · E|e| / (2 u_c rms h) of them in an image, n the values of the kept half. A jump is some 10^4 times the error
that caused it: it makes the hidden layers jump too, and two pixels further every step the two conditioners come to
round independently of each other. The error that a step then adds, d, is measured (`StepProfile.response`, in float16;
bfloat16 has 8 times as much). So the expected square is the sum over steps of d² (1 - exp(-Λ)), Λ the jumps of this and
of all earlier decoding steps within reach. The one factor a, the share of boundary crossings that start this,
is fitted (`JUMP_FACTOR`).

That sum is an expectation over many images. Where jumps are rare, most images have none and are as good as float32, and
a few carry all of the error: `Prediction.hit_share` says how many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from glow_deploy.errors import UsageError

from .profile import FP16_LARGEST, DecodeProfile, StepProfile

__all__ = [
    "HIT_FACTOR",
    "JUMP_FACTOR",
    "PRECISIONS",
    "ROUNDOFF",
    "TRUNK_FACTOR",
    "Mode",
    "Prediction",
    "predict",
    "predict_precision",
]

Mode = Literal["fp32", "tf32", "fp16", "bf16"]

PRECISIONS = ("fp32", "tf32", "mixed", "bf16-mixed", "fp16")

# Unit roundoff: half the distance of two neighbours, relative to their size.
ROUNDOFF: Mapping[Mode, float] = {"fp32": 2.0**-24, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}

# Fitted on one model, Fashion-MNIST at 8 bits (L=2 K=8 width 64, bounded scale), on 256 images of its validation set
# in float32 and in simulated TF32 and float16 (`precision.simulate`), Γ from 64 of them: 2.00, 0.96 and 1.23.
# On models not fitted on: faces at 5 and 8 bits 2.2, 0.9, 1.1 and 2.3, 0.8, 1.1; Fashion-MNIST at 5 bits 2.0, 1.3, 1.5;
# digits, four models, one of them additive, 1.2-1.7, 0.6-0.9, 0.8-1.0; random weights at Γ = 2.4 and 89 2.5, 0.9, 1.3.
TRUNK_FACTOR: Mapping[Mode, float] = {"fp32": 2.0, "tf32": 1.0, "fp16": 1.2}

# a of the jumps that grow. On the same images of the same model a = 0.53 gives the rms seen in float16 and a = 1.0 the
# one in bfloat16. Predicted over observed at 0.7: 1.1 and 0.8 there, and, not fitted on, faces at 5 and 8 bits 0.8, 0.6
# and 0.8, 0.6; Fashion-MNIST at 5 bits 1.1, 1.1; digits 1.1-1.4, 1.0-1.7.
JUMP_FACTOR = 0.7

# The same for any jump at all, also one that stays small: what `Prediction.hit_share` counts. Hit were 84 % and 22 % of
# those images; expected with this factor 94 % and 30 %. Faces at 5 bits: 99 % and 37 %; expected 92 % and 27 %.
HIT_FACTOR = 2.0

_REACH = 2  # pixels to each side that a conditioner's two 3x3 convolutions see
_MEAN_ABS = math.sqrt(2.0 / math.pi)  # of a normal variable of rms 1


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a precision is expected to do to the round trip x -> z -> x.

    Attributes:
        rms: root mean square of x_hat - x over many images, in units of x; infinite where decoding is expected to
            overflow.
        hit_share: share of the images whose error is more than that of the trunk, since a narrow conditioner jumped;
            1 where everything runs in one precision. An observation on far fewer images than 1 / hit_share sees none of
            them and stays below `rms`.
    """

    rms: float
    hit_share: float

    @property
    def overflows(self) -> bool:
        """True where decoding is expected to give infinities or NaN for some image."""
        return not math.isfinite(self.rms)


def predict_precision(profile: DecodeProfile, precision: str) -> Prediction:
    """`predict` for a precision that treats every step alike.

    Args:
        profile: the gains, from `gains.measure_profile`.
        precision: one of `PRECISIONS`.

    Raises:
        UsageError: no such precision.
    """
    conditioners: dict[str, tuple[Mode, Mode]] = {
        "fp32": ("fp32", "fp32"),
        "tf32": ("tf32", "tf32"),
        "fp16": ("fp16", "fp16"),
        "mixed": ("fp32", "fp16"),
        "bf16-mixed": ("fp32", "bf16"),
    }
    if precision not in conditioners:
        raise UsageError(f"there is no prediction for the precision {precision!r}; choose one of {PRECISIONS}")
    trunk, narrow = conditioners[precision]
    return predict(profile, trunk=trunk, conditioners={step.step: narrow for step in profile.steps})


def predict(profile: DecodeProfile, *, trunk: Mode, conditioners: Mapping[str, Mode]) -> Prediction:
    """Predict the round-trip error with a number format for the trunk and one for each conditioner.

    Args:
        profile: the gains, from `gains.measure_profile`.
        trunk: `fp32`, or `tf32` or `fp16` with all conditioners the same.
        conditioners: step path -> `fp32`, `fp16` or `bf16`; a step that is not named runs as the trunk does.

    Raises:
        UsageError: a step that the model does not have, or formats that cannot be predicted together.
    """
    unknown = set(conditioners) - {step.step for step in profile.steps}
    if unknown:
        raise UsageError(f"the model has no step {min(unknown)!r}")
    narrow = {step: mode for step, mode in conditioners.items() if mode != trunk}
    if trunk not in TRUNK_FACTOR or (narrow and trunk != "fp32") or not set(narrow.values()) <= {"fp16", "bf16"}:
        raise UsageError("a prediction is for one format throughout, or for fp16 or bf16 conditioners in an fp32 trunk")
    if _overflows(profile, trunk, narrow):
        return Prediction(rms=math.inf, hit_share=1.0)
    square = TRUNK_FACTOR[trunk] ** 2 * ROUNDOFF[trunk] ** 2 * np.square(profile.gammas)
    hit = np.ones(profile.images)
    if narrow:
        added, hit = _jumps(profile, narrow)
        square = square + added
    return Prediction(rms=math.sqrt(float(square.mean())), hit_share=float(hit.mean()))


def _overflows(profile: DecodeProfile, trunk: Mode, narrow: Mapping[str, Mode]) -> bool:
    if not np.isfinite(profile.gammas).all():
        return True
    if any(narrow.get(step.step) == "fp16" and step.overflows for step in profile.steps):
        return True
    if trunk == "fp32":
        return False
    return profile.coarse_non_finite > 0 or (trunk == "fp16" and profile.coarse_largest > FP16_LARGEST)


def _jumps(profile: DecodeProfile, narrow: Mapping[str, Mode]) -> tuple[np.ndarray, np.ndarray]:
    """Mean square error that jumps add to x, and the probability of any jump, both [N]."""
    trunk = TRUNK_FACTOR["fp32"] * ROUNDOFF["fp32"]
    arrived = np.zeros(profile.images)  # square of the trunk's error so far, as it will be seen in x
    added = np.zeros(profile.images)
    rates: list[np.ndarray] = []  # of every step so far, jumps an image
    reaches: list[float] = []  # and how far each has come, in pixels of the present level
    # The state that enters the first step has not been measured; it is much like the one that leaves it.
    before = profile.steps[0]
    for step in profile.steps:
        if step.size != before.size:
            reaches = [2 * reach for reach in reaches]
        arrived = arrived + np.square(trunk * before.gain * before.rms)
        reaches = [reach + _REACH for reach in reaches]
        mode = narrow.get(step.step)
        if mode is not None:
            error = np.sqrt(arrived) / before.gain
            rates.append(_rate(step, error, ROUNDOFF[mode]))
            reaches.append(_REACH)
            within = sum(
                (rate * _covered(reach, step.size) for rate, reach in zip(rates, reaches, strict=True)), np.zeros(())
            )
            response = step.response * (ROUNDOFF[mode] / ROUNDOFF["fp16"])
            added = added + np.square(response) * -np.expm1(-within)
        before = step
    return added, -np.expm1(-HIT_FACTOR / JUMP_FACTOR * sum(rates, np.zeros(profile.images)))


def _rate(step: StepProfile, error: np.ndarray, roundoff: float) -> np.ndarray:
    spacing = 2.0 * roundoff * np.maximum(step.kept_rms, np.finfo(np.float64).tiny)
    return np.asarray(JUMP_FACTOR * step.kept_values * _MEAN_ABS * error / spacing)


def _covered(reach: float, size: tuple[int, int]) -> float:
    """Share of an image that a square of this reach around one of its pixels covers."""
    return math.prod(min(1.0, (1.0 + 2.0 * reach) / side) for side in size)
