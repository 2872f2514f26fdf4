"""What float64 probes of a decoder have measured, step by step and image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FP16_LARGEST", "DecodeProfile", "StepProfile"]

FP16_LARGEST = 65504.0


@dataclass(frozen=True, kw_only=True, eq=False)
class StepProfile:
    """One step of flow as the decoder sees it; arrays are [N], one entry an image.

    Attributes:
        step: its path, `level1/step01`.
        gain: rms of the change of x over that of a small change of the decoder's tensor after this step.
        rms: root mean square of that tensor.
        response: rms of the change of x, in units of x, if this step's conditioner runs in float16 in both directions
            with roundings that have nothing to do with each other.
        kept_rms: of the half that the conditioner reads.
        kept_values: how many values an image has there.
        size: (H, W) of the level.
        largest: largest |value| inside the conditioner, weights included.
        smallest_scale: smallest scale of the coupling in the encoding direction; 1 for an additive coupling.
    """

    step: str
    gain: np.ndarray
    rms: np.ndarray
    response: np.ndarray
    kept_rms: np.ndarray
    kept_values: int
    size: tuple[int, int]
    largest: np.ndarray
    smallest_scale: np.ndarray

    @property
    def overflows(self) -> bool:
        """True where the conditioner leaves float16's range on some image."""
        return not bool(np.all(self.largest <= FP16_LARGEST) and np.isfinite(self.response).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodeProfile:
    """All steps of a decoder, in the order in which it runs them: the last step of the coarsest level first.

    Attributes:
        steps: one profile each.
        images: N.
        coarse_non_finite: values of x that were not finite when every step was disturbed as float16 would.
        coarse_largest: largest |value| of any tensor then.
    """

    steps: tuple[StepProfile, ...]
    images: int
    coarse_non_finite: int
    coarse_largest: float

    @property
    def gains(self) -> dict[str, float]:
        """Step path, in encoding order -> gain, rms over the images; infinite or NaN where decoding overflows."""
        with np.errstate(all="ignore"):
            return {step.step: float(np.sqrt(np.square(step.gain).mean())) for step in reversed(self.steps)}

    @property
    def gammas(self) -> np.ndarray:
        """Γ of each image [N], in units of x: the root of the sum over steps of (gain · rms)²."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.sqrt(sum(np.square(step.gain * step.rms) for step in self.steps)))
