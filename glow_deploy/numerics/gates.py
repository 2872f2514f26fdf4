"""Where a measured error turns into a verdict: limits, their factors and their derivation.

A limit is `factor x yardstick`, where the yardstick is the float32 error of the trained model itself (PyTorch
float32 against float64). It never falls below a floor of a few float32 roundings of the value's own size, so that a
yardstick near zero does not fail a sound backend, and never rises above a ceiling at which no model is fit to be
deployed, so that an unsound model does not pass by being its own yardstick.

Limits stand on rms and the 99.9th percentile. The maximum is reported, not gated: it grows with the number of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from glow_deploy.artifact.figures import Figures
from glow_deploy.errors import UsageError

from .measures import ErrorSummary, Exactness, half_bin
from .statistics import mean_bound, most_failures

__all__ = [
    "Factors",
    "GateResult",
    "Limits",
    "Rules",
    "VerdictName",
    "bits_limits",
    "factors_for",
    "gate_equivalence",
    "gate_error",
    "gate_exactness",
    "gate_finite",
    "gate_promise",
    "gate_tolerance",
    "growth",
    "image_limits",
    "latent_limits",
    "rules_for",
]

VerdictName = Literal["round_trip", "likelihood", "samples", "weights"]

_ULP = 2.0**-23  # spacing of float32 at 1
_FEW_VALUES = 1000  # fewer than this have no 99.9th percentile below their maximum


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What an error may be, as a multiple of the yardstick, for one precision.

    Attributes:
        paired: the yardstick was measured on the same images.
        unpaired: the yardstick comes from other images (the golden ones), many of them.
        unpaired_few: on n golden images the unpaired factor is `unpaired * (1 + unpaired_few / sqrt(n))`.
        batch: one engine against itself at another batch size, for the image that differs most.
        floor_ulps: floor, in float32 spacings at the size of the values compared.
        floor_ulps_log_prob: the same for bits/dim: a log-density is a sum over thousands of terms.
        exact_margin: images must come back exactly where this multiple of the yardstick's maximum stays within half a
            bin. On other images than the golden ones it grows like the unpaired factor.
        ceiling_bits_per_dim: rms error in bits/dim beyond which no likelihood of images like the data is sound.
        band_bits_per_dim: the mean difference in bits/dim from the reference must be shown to lie within +- this.
        decode_only: round trip and likelihood are reported, not gated.
    """

    paired: float
    unpaired: float
    unpaired_few: float
    batch: float
    floor_ulps: float
    floor_ulps_log_prob: float
    exact_margin: float
    ceiling_bits_per_dim: float
    band_bits_per_dim: float
    decode_only: bool = False


# fp32: chosen from measurements on the CPU: four Glows (2 levels of 6 steps, width 32; affine with and without the
# bounded scale and additive at 8 bits, affine at 5) trained for 2 minutes on Fashion-MNIST reduced to 16x16.
#
# Sound, on the same images: ONNX Runtime and PyTorch float32, crossed with each other and with float64, stay within
# 1.6 times the yardstick in rms and p99.9 of every quantity; 4 leaves room for GPU kernels that sum in another order.
# Sound, on up to 10,000 unseen images: within 1.5 times the yardstick of 64 golden images, within 3.3 (rms) and 4.6
# (p99.9) times that of a single one, and within 1.8 times where the golden images are drawn from the model.
#
# Faults, as the smallest multiple of the limit found at any place: the largest entry of a 1x1 off by 1 % 859; one of
# its rows by 0.5 % 519; two rows swapped 461,000; a conditioner conv off by 2 % 2,155; one entry of a bias off by 0.02
# 79; weights rounded to 10 bits 756; one entry of a conditioner's 1x1 off by 1 % 32. A weight behind a hidden unit that
# never fires changes no result on any image, so no measurement of results can see it.
#
# Narrower precisions are held against what their own graphs made of the golden images at export in a single pass, which
# a simulation confirmed. On a round trip much of that error cancels, unless a value happens to straddle a rounding
# boundary: that is rare and large, so round trips on a few images say little, and single passes say how large.
_NARROW = Factors(
    paired=3.0,
    unpaired=4.0,
    unpaired_few=3.0,
    batch=3.0,
    floor_ulps=4.0,
    floor_ulps_log_prob=8.0,
    exact_margin=math.inf,
    ceiling_bits_per_dim=1e-2,
    band_bits_per_dim=1e-3,
)
_FACTORS = {
    "fp32": Factors(
        paired=4.0,
        unpaired=8.0,
        unpaired_few=3.0,
        batch=10.0,
        floor_ulps=4.0,
        floor_ulps_log_prob=8.0,
        exact_margin=10.0,
        ceiling_bits_per_dim=1e-3,
        band_bits_per_dim=1e-5,
    ),
    "mixed": _NARROW,
    "auto": _NARROW,
    "bf16-mixed": replace(_NARROW, ceiling_bits_per_dim=1e-1, band_bits_per_dim=1e-2),
    "fp16": replace(_NARROW, decode_only=True),
}
# Latents and densities of the integer model, as numbers; its integers are compared for equality, which is far sharper.
_FACTORS["exact"] = _FACTORS["fp32"]


def factors_for(precision: str) -> Factors:
    """The factors that a bundle of this precision is held to.

    Raises:
        UsageError: a precision without measured factors.
    """
    if precision not in _FACTORS:
        raise UsageError(f"no gates are known for precision {precision!r}; this version judges {', '.join(_FACTORS)}")
    return _FACTORS[precision]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a bundle is held to.

    Attributes:
        fp32: factors over the float32 yardstick, for float32 arithmetic.
        own: factors over the errors that graphs of a narrower precision made at export; None for float32 graphs.
    """

    fp32: Factors
    own: Factors | None = None

    @property
    def decode_only(self) -> bool:
        """Round trip and likelihood are reported, not gated."""
        return self.own is not None and self.own.decode_only


def rules_for(precision: str) -> Rules:
    """The rules for a bundle of this precision.

    Raises:
        UsageError: a precision without measured factors.
    """
    factors = factors_for(precision)
    return Rules(fp32=factors_for("fp32"), own=None if precision in ("fp32", "exact") else factors)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How one quantity's limit is made.

    Attributes:
        yardstick: float32 error of the trained model in this quantity.
        factor: allowed multiple of it.
        floor: the rms limit never falls below it.
        ceiling: the rms limit never rises above it.
        tail_ceiling: nor that of the 99.9th percentile above this; None for three times the ceiling.
    """

    yardstick: Figures
    factor: float
    floor: float
    ceiling: float = math.inf
    tail_ceiling: float | None = None


def growth(factors: Factors, n: int) -> float:
    """How much the unpaired factor grows when the yardstick stands on few images: `1 + unpaired_few / sqrt(n)`."""
    return 1.0 + factors.unpaired_few / math.sqrt(n)


def image_limits(
    yardstick: Figures, *, factor: float, factors: Factors, n_bits: int, round_trip: bool = True
) -> Limits:
    """Limits of an error in x. The model works on x - 0.5, so values are of size 0.5.

    Args:
        yardstick: in x.
        factor: allowed multiple of it.
        factors: for the floor.
        n_bits: of the model.
        round_trip: the error is one that ought to cancel. The pictures of a decoder in a narrower precision, by itself
            or behind another encoder, only have to look the same: within a pixel step, rms.
    """
    return Limits(
        yardstick=yardstick,
        factor=factor,
        floor=factors.floor_ulps * _ULP * 0.5,
        # Three times the rms within half a bin: of Gaussian errors 99.7 % then leave a pixel in its bin.
        ceiling=half_bin(n_bits) / 3.0 if round_trip else 2.0 * half_bin(n_bits),
    )


def latent_limits(yardstick: Figures, *, factor: float, factors: Factors, scale: float) -> Limits:
    """Limits of an error in latents whose rms is `scale`."""
    return Limits(yardstick=yardstick, factor=factor, floor=factors.floor_ulps * _ULP * _at_least_1(scale))


def bits_limits(yardstick: Figures, *, factor: float, factors: Factors, scale: float) -> Limits:
    """Limits of an error in bits/dim, of images that take `scale` bits/dim."""
    return Limits(
        yardstick=yardstick,
        factor=factor,
        floor=factors.floor_ulps_log_prob * _ULP * _at_least_1(scale),
        # Images that take more bits than 8 a value lie far from the data, and no float32 sum resolves their density.
        ceiling=factors.ceiling_bits_per_dim * _at_least_1(scale / 8.0),
    )


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One comparison of a figure with its limit.

    Attributes:
        quantity: `x_hat`, `z2 -> x -> z2`, `z1`, `bits/dim`, `exact images` ...
        statistic: `rms`, `p99.9`, `max`, `non-finite`, `mean`, `rate`, `count`.
        level: number of the level that the quantity belongs to, None where it belongs to all.
        value: what was measured.
        limit: what it must not exceed; for a rate, what it must not fall below.
        passed: the verdict. False for a value that is not a number.
        derivation: how the limit came about, for printing.
        verdict: which of the verdicts the gate belongs to; `samples` is for a decoder by itself: the same latents, the
            same picture; `weights` for what the graphs hold, whatever any image shows of it.
    """

    quantity: str
    statistic: str
    level: int | None
    value: float
    limit: float
    passed: bool
    derivation: str
    verdict: VerdictName


def gate_finite(summary: ErrorSummary, *, quantity: str, verdict: VerdictName, level: int | None = None) -> GateResult:
    """No value may be NaN or infinite, and there must be values."""
    return GateResult(
        quantity=quantity,
        statistic="non-finite",
        level=level,
        value=float(summary.non_finite) if summary.n else math.nan,
        limit=0.0,
        passed=summary.finite,
        derivation="every value must be a finite number",
        verdict=verdict,
    )


def gate_error(
    summary: ErrorSummary,
    limits: Limits,
    *,
    quantity: str,
    verdict: VerdictName,
    level: int | None = None,
    rms_only: bool = False,
) -> tuple[GateResult, ...]:
    """Non-finite count, rms and, of 1,000 values or more, p99.9 of an error.

    Args:
        summary: the error.
        limits: for it.
        quantity: its name, for printing.
        verdict: that it belongs to.
        level: that it belongs to.
        rms_only: leave p99.9 out.
    """
    results = [gate_finite(summary, quantity=quantity, verdict=verdict, level=level)]
    figures = [("rms", summary.rms, limits.yardstick.rms, 1.0)]
    if summary.n >= _FEW_VALUES and not rms_only:
        # Of Gaussian errors 99.9 % lie within 3.3 rms: floor and ceiling are given for the rms.
        figures.append(("p99.9", summary.p999, limits.yardstick.p999, 3.0))
    for statistic, value, base, spread in figures:
        limit, derivation = _limit(base, limits, spread)
        results.append(
            GateResult(
                quantity=quantity,
                statistic=statistic,
                level=level,
                value=value,
                limit=limit,
                passed=bool(value <= limit),
                derivation=derivation,
                verdict=verdict,
            )
        )
    return tuple(results)


def gate_equivalence(summary: ErrorSummary, *, factors: Factors, quantity: str) -> GateResult:
    """The mean paired difference in bits/dim must be shown to lie within a band: no significance is no equality."""
    band = factors.band_bits_per_dim * _at_least_1(summary.scale / 8.0)
    value = mean_bound(mean=summary.mean, rms=summary.rms, n=summary.n) if summary.finite else math.nan
    return GateResult(
        quantity=quantity,
        statistic="mean",
        level=None,
        value=value,
        limit=band,
        passed=bool(value <= band),
        derivation=f"|mean| and its 95 % bound over {summary.n} images within the band of {band:.0e}",
        verdict="likelihood",
    )


def gate_tolerance(summary: ErrorSummary, tolerance: float, *, n_bits: int) -> GateResult:
    """No error may exceed what the graphs were made for, `tolerance` pixel steps."""
    limit = tolerance * 2.0**-n_bits
    return GateResult(
        quantity="x -> z -> x",
        statistic="max",
        level=None,
        value=summary.max if summary.finite else math.nan,
        limit=limit,
        passed=bool(summary.finite and summary.max <= limit),
        derivation=f"promised at export: {tolerance:g} pixel steps",
        verdict="round_trip",
    )


def gate_promise(beyond: int, n: int, *, tolerance: float, rate: float) -> GateResult:
    """Of images that the graphs were not calibrated on, no more may be beyond the tolerance than was promised.

    Args:
        beyond: images with a larger error, or with a value that is not finite.
        n: images looked at.
        tolerance: in pixel steps.
        rate: the promise: fewer than this share of images like the calibration images are beyond it.
    """
    limit = most_failures(n, rate)
    return GateResult(
        quantity=f"images beyond {tolerance:g} pixel steps",
        statistic="count",
        level=None,
        value=float(beyond),
        limit=float(limit),
        passed=beyond <= limit,
        derivation=f"promised at export: fewer than {rate:.2%} of images, so up to {limit} of {n}",
        verdict="round_trip",
    )


def _limit(base: float, limits: Limits, spread: float) -> tuple[float, str]:
    floor, ceiling = limits.floor * spread, limits.ceiling * spread
    if spread > 1.0 and limits.tail_ceiling is not None:
        ceiling = limits.tail_ceiling
    if not math.isfinite(base):
        return floor, "a few float32 roundings; the trained model itself is not finite in float32"
    limit = limits.factor * base
    derivation = f"{limits.factor:.3g} x {base:.2e}"
    if limit < floor:
        return floor, f"a few float32 roundings, more than {derivation}"
    if limit > ceiling:
        return ceiling, f"where no model is sound any more, less than {derivation}"
    return limit, derivation


def _at_least_1(scale: float) -> float:
    return max(1.0, scale) if math.isfinite(scale) else 1.0


def gate_exactness(exactness: Exactness, yardstick: Figures, *, margin: float, n_bits: int) -> GateResult | None:
    """Every image must come back exactly, where the float32 error is far enough below half a bin to expect it.

    Args:
        exactness: the counts.
        yardstick: float32 error of the trained model in x.
        margin: multiple of the yardstick's maximum that has to stay within half a bin; 0 where it is promised anyway.
        n_bits: of the model.

    Returns:
        None where exactness is not to be expected: then the rate is only reported.
    """
    half = half_bin(n_bits)
    if margin and not margin * yardstick.max <= half:
        return None
    return GateResult(
        quantity="exact images",
        statistic="rate",
        level=None,
        value=exactness.image_rate,
        limit=1.0,
        passed=exactness.images_exact == exactness.images,
        derivation=(
            f"all: {margin:.3g} x {yardstick.max:.2e} (largest error) is within half a bin, {half:.2e}"
            if margin
            else "all: promised at export, where the plan was chosen for it"
        ),
        verdict="round_trip",
    )
