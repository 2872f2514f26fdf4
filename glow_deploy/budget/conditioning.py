"""What a step's weights alone say: how far its 1x1 convolution is from singular, and the decoder's from its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from glow_deploy.errors import BundleError
from glow_deploy.numerics.float64 import Float64Graph

__all__ = ["LIMITS", "Conditioning", "Flag", "check_step", "measure_conditioning"]

Policy = Literal["fp32", "fp16"]

# House thresholds: an error may grow this many times in one step before it is worth a word.
LIMITS: dict[Policy, float] = {"fp32": 1e3, "fp16": 1e2}

# Rounding both matrices to storage leaves |D E - 1| of at most 2 u κ or so; this many u κ are no rounding.
_RESIDUAL = 64.0


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """One step's 1x1 convolution as stored, actnorm included: E = W diag(exp(a)) and its inverse D in the decoder.

    Attributes:
        step: its path, `level1/step01`.
        kappa: condition number of E, its largest singular value over its smallest.
        inverse_residual: largest |D E - 1|.
        residual_limit: what rounding to the stored type explains of it.
        smallest: smallest singular value of E. Decoding multiplies what lies along it by 1 / smallest.
    """

    step: str
    kappa: float
    inverse_residual: float
    residual_limit: float
    smallest: float


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One figure of a step beyond its threshold.

    Attributes:
        step: its path.
        figure: `kappa`, `smallest_actnorm`, `smallest_scale` or `inverse_residual`.
        value: measured.
        limit: the threshold.
        policy: `fp32`: bad in every precision; `fp16`: bad where the trunk is narrower than float32.
        message: what it means and what to do.
    """

    step: str
    figure: str
    value: float
    limit: float
    policy: Policy
    message: str


def measure_conditioning(encoder: Float64Graph, decoder: Float64Graph, step: str) -> Conditioning:
    """Compare a step's two 1x1 convolutions.

    Args:
        encoder: of the model.
        decoder: of the same.
        step: path of a step of both.

    Raises:
        BundleError: a graph has no such step, or the two do not fit together.
    """
    encode = encoder.weight(f"{step}/invconv/weight")[:, :, 0, 0]
    decode = decoder.weight(f"{step}/invconv/weight")[:, :, 0, 0]
    if encode.shape != decode.shape or encode.shape[0] != encode.shape[1]:
        raise BundleError(f"the 1x1 convolutions of {step} do not fit: {encode.shape} and {decode.shape}")
    if step.endswith("/step01"):
        encode = encode[:, _model_order(encode.shape[1])]
    with np.errstate(all="ignore"):
        values = np.linalg.svd(encode, compute_uv=False) if np.isfinite(encode).all() else np.array([np.nan])
        kappa = float(values[0] / values[-1])
        residual = float(np.abs(decode @ encode - np.eye(len(encode))).max())
        roundoff = max(encoder.roundoff(f"{step}/invconv/weight"), decoder.roundoff(f"{step}/invconv/weight"))
    return Conditioning(
        step=step,
        kappa=kappa,
        inverse_residual=residual,
        residual_limit=_RESIDUAL * roundoff * kappa,
        smallest=float(values[-1]),
    )


def check_step(conditioning: Conditioning, *, smallest_scale: float) -> list[Flag]:
    """Compare one step's figures with the thresholds; the graver policy speaks where both would.

    Args:
        conditioning: of the step.
        smallest_scale: of its coupling, over the images looked at.
    """
    step = conditioning.step
    growths = {
        "kappa": (conditioning.kappa, conditioning.kappa, "retrain with the penalty on the 1x1 convolutions"),
        "smallest_actnorm": (conditioning.smallest, _inverse(conditioning.smallest), "retrain with that penalty"),
        "smallest_scale": (smallest_scale, _inverse(smallest_scale), "retrain with the bounded scale"),
    }
    flags = []
    for figure, (value, growth, advice) in growths.items():
        for policy, limit in LIMITS.items():
            if growth <= limit:
                continue
            threshold = limit if figure == "kappa" else 1.0 / limit
            where = "in any precision" if policy == "fp32" else "if the trunk is narrower than float32"
            message = f"decoding may magnify an error {growth:.1e} times here, too much {where}: {advice}"
            flags.append(Flag(step=step, figure=figure, value=value, limit=threshold, policy=policy, message=message))
            break
    residual, limit = conditioning.inverse_residual, conditioning.residual_limit
    if not residual <= limit:
        message = "the decoder's 1x1 convolution is not the encoder's inverse: export both from one checkpoint"
        flags.append(
            Flag(step=step, figure="inverse_residual", value=residual, limit=limit, policy="fp32", message=message)
        )
    return flags


def _inverse(value: float) -> float:
    return 1.0 / value if value > 0.0 else np.inf


def _model_order(channels: int) -> list[int]:
    """Where the encoder's first 1x1 of a level finds each channel: it reads them in SpaceToDepth's order."""
    quarter = channels // 4
    return [offset * quarter + c for c in range(quarter) for offset in range(4)]
