"""The error budget of a model: what each step contributes, and what each precision will show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.progress import StageProgress

from .conditioning import Flag, check_step, measure_conditioning
from .gains import PROBES, measure_profile
from .predict import PRECISIONS, Prediction, predict_precision
from .profile import DecodeProfile

if TYPE_CHECKING:
    import onnx

__all__ = ["BudgetReport", "StepBudget", "measure_budget"]


@dataclass(frozen=True, kw_only=True)
class StepBudget:
    """One step of flow.

    Attributes:
        step: its path, `level1/step01`.
        gain: rms of the change of x over that of a small change of the decoder's tensor after this step, root mean
            square over the images.
        gain_max: of the image that is worst.
        rms: root mean square of that tensor.
        share: of Γ², so that all steps' shares add up to 1.
        kappa: condition number of the step's 1x1 convolution, actnorm included.
        inverse_residual: largest |D E - 1| of the stored 1x1 convolutions E and D of the two directions.
        smallest_scale: smallest scale of the coupling seen on the images; 1 for an additive coupling.
        smallest_actnorm: smallest singular value of E, which stands for the smallest scale of actnorm and 1x1 together.
    """

    step: str
    gain: float
    gain_max: float
    rms: float
    share: float
    kappa: float
    inverse_residual: float
    smallest_scale: float
    smallest_actnorm: float

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; a figure that is not finite is null."""
        names = (
            "gain", "gain_max", "rms", "share", "kappa", "inverse_residual", "smallest_scale", "smallest_actnorm",
        )  # fmt: skip
        return {"step": self.step, **{name: _plain(getattr(self, name)) for name in names}}


@dataclass(frozen=True, kw_only=True)
class BudgetReport:
    """The whole model.

    Attributes:
        images: images measured on.
        probes: sign patterns a step.
        gamma: Γ, root mean square over the images: rms(x_hat - x) is about c·u·Γ.
        gamma_max: of the image that is worst.
        predicted: precision (`predict.PRECISIONS`) -> what it is expected to show.
        steps: in encoding order.
        flags: steps whose weights or scales are beyond a threshold.
        profile: the measurement itself, for predictions of other precision plans (`predict.predict`).
    """

    images: int
    probes: int
    gamma: float
    gamma_max: float
    predicted: Mapping[str, Prediction]
    steps: tuple[StepBudget, ...]
    flags: tuple[Flag, ...]
    profile: DecodeProfile = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report; figures that are not finite, an expected overflow above all, are null."""
        return {
            "images": self.images,
            "probes": self.probes,
            "gamma": _plain(self.gamma),
            "gamma_max": _plain(self.gamma_max),
            "predicted_rms": {name: _plain(value.rms) for name, value in self.predicted.items()},
            "hit_share": {name: _plain(value.hit_share) for name, value in self.predicted.items()},
            "steps": [step.to_dict() for step in self.steps],
            "flags": [
                {
                    "step": flag.step,
                    "figure": flag.figure,
                    "value": _plain(flag.value),
                    "limit": _plain(flag.limit),
                    "policy": flag.policy,
                    "message": flag.message,
                }
                for flag in self.flags
            ],
        }


def measure_budget(
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    images: int | None = None,
    probes: int = PROBES,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> BudgetReport:
    """Measure gains and conditioning from a bundle's two graphs, and predict what every precision will show.

    Args:
        encoder: the encoder graph, linted.
        decoder: the decoder graph of the same model.
        x: images [N,C,H,W] in [0,1).
        y: labels [N] of a class-conditional model.
        images: how many of them to measure on, spread evenly over the set; all where there are fewer. None takes 8 of a
            small model and fewer of a large one, at least 2.
        probes: sign patterns a step. See `gains.measure_profile` for the cost.
        seed: of the patterns.
        progress: called with what is done, steps done and steps in all.

    Raises:
        UsageError: no images, or numbers out of range.
        BundleError: the graphs are not ours, or not of one model.
    """
    graphs = Float64Graph(encoder, source="the encoder"), Float64Graph(decoder, source="the decoder")
    profile = measure_profile(*graphs, x, y, images=images, probes=probes, seed=seed, progress=progress)
    gammas = profile.gammas
    with np.errstate(over="ignore"):
        total = float(np.square(gammas).mean())
    steps, flags = [], []
    for step in reversed(profile.steps):
        conditioning = measure_conditioning(*graphs, step.step)
        scale = float(step.smallest_scale.min())
        with np.errstate(all="ignore"):
            part = float(np.square(step.gain * step.rms).mean())
            steps.append(
                StepBudget(
                    step=step.step,
                    gain=_root_mean_square(step.gain),
                    gain_max=float(step.gain.max()),
                    rms=_root_mean_square(step.rms),
                    share=part / total if total > 0.0 else math.nan,
                    kappa=conditioning.kappa,
                    inverse_residual=conditioning.inverse_residual,
                    smallest_scale=scale,
                    smallest_actnorm=conditioning.smallest,
                )
            )
        flags += check_step(conditioning, smallest_scale=scale)
    return BudgetReport(
        images=profile.images,
        probes=probes,
        gamma=math.sqrt(total),
        gamma_max=float(gammas.max()),
        predicted={precision: predict_precision(profile, precision) for precision in PRECISIONS},
        steps=tuple(steps),
        flags=tuple(flags),
        profile=profile,
    )


def _root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(float(np.square(values).mean()))


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
