"""From the integer canary's result to what a backend does to integers, with the reason where it is not exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .formats import FORMATS, round_to
from .integers import BATCH, CHANNELS, PROBES, SIZE, IntegerCanary, convolve, make_integers

__all__ = ["IntegerArithmetic", "IntegerResult", "judge_integers"]

IntegerArithmetic = Literal[
    "exact", "tf32", "fp16", "bf16", "bf16-results", "fp16-results", "fp16-sums", "bf16-sums", "winograd", "unknown"
]

_REASONS: Mapping[IntegerArithmetic, str] = {
    "exact": "",
    "tf32": "operands are rounded to TF32, which holds those of exact graphs",
    "fp16": "operands of a float32 convolution are rounded to float16, whose range does not hold all of exact graphs",
    "bf16": "operands and results of a float32 convolution are rounded to bfloat16",
    "bf16-results": "results of a float32 convolution are rounded to bfloat16",
    "fp16-results": "results of a float32 convolution are rounded to float16",
    "fp16-sums": "products are summed in float16",
    "bf16-sums": "products are summed in bfloat16",
    "winograd": "3x3 convolutions multiply sums of operands (Winograd's or Fourier's way), which no proof covers",
    "unknown": "the results follow no known arithmetic",
}
_HARMLESS = ("exact", "tf32")
_LARGEST_HALF = 65504.0
_NEAR = 2.0**-8  # of the largest result: a way of multiplying that is right but for rounding


@dataclass(frozen=True, kw_only=True)
class IntegerResult:
    """What a backend made of the integer canary.

    Attributes:
        arithmetic: what it was computed in.
        differing: by probe, results that are not equal to the exact ones.
        values: results of each probe.
        reason: why they differ; empty where none does.
    """

    arithmetic: IntegerArithmetic
    differing: Mapping[str, int]
    values: int
    reason: str

    @property
    def sound(self) -> bool:
        """True where the proof of exact graphs covers this arithmetic: float32, or TF32, which holds their operands."""
        return self.arithmetic in _HARMLESS

    @property
    def text(self) -> str:
        """One phrase: `exact`, or what differs and why."""
        if self.arithmetic == "exact":
            return "exact"
        counts = ", ".join(f"{count:,} of {self.values:,} in {probe}" for probe, count in self.differing.items())
        return f"{self.reason} (differing: {counts})"

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            "arithmetic": self.arithmetic,
            "sound": self.sound,
            "differing": dict(self.differing),
            "values": self.values,
            "reason": self.reason,
        }


def judge_integers(run: Callable[[np.ndarray], np.ndarray]) -> IntegerResult:
    """Run the integer canary once and tell what becomes of integers.

    Args:
        run: computes the canary's graph on one batch, [32, 96, 16, 16] float32 -> the same shape; what it raises is
            passed on.
    """
    canary = make_integers()
    result = run(canary.x)
    each = BATCH * (CHANNELS // len(PROBES)) * SIZE * SIZE
    wanted = (BATCH, CHANNELS, SIZE, SIZE)
    if not isinstance(result, np.ndarray) or result.shape != wanted or result.dtype.kind != "f":
        got = f"{result.dtype} {list(result.shape)}" if isinstance(result, np.ndarray) else type(result).__name__
        return IntegerResult(
            arithmetic="unknown",
            differing=dict.fromkeys(PROBES, each),
            values=each,
            reason=f"the result is {got} where float32 {list(wanted)} is due",
        )
    found = dict(zip(PROBES, np.split(result.astype(np.float64), len(PROBES), axis=1), strict=True))
    due = {name: _spread(canary.results[name]) for name in PROBES}
    differing = {name: int((found[name] != due[name]).sum()) for name in PROBES}  # NaN differs from everything
    arithmetic = _arithmetic(canary, found, due, differing)
    return IntegerResult(arithmetic=arithmetic, differing=differing, values=each, reason=_REASONS[arithmetic])


def _arithmetic(
    canary: IntegerCanary,
    found: Mapping[str, np.ndarray],
    due: Mapping[str, np.ndarray],
    differing: Mapping[str, int],
) -> IntegerArithmetic:
    if not any(differing.values()):
        return "exact"
    for name, predicted in _predictions(canary):
        if all(np.array_equal(found[probe], _spread(values)) for probe, values in predicted.items()):
            return name
    results = np.concatenate([values.ravel() for values in found.values()])
    finite = results[np.isfinite(results)]
    # What is summed in a narrow format is a number of it.
    if len(finite) and np.array_equal(_half(finite), finite):
        return "fp16-sums"
    if len(finite) and np.array_equal(round_to(finite, FORMATS["bf16"]), finite):
        return "bf16-sums"
    error = np.abs(found["3x3"] - due["3x3"])
    only3 = differing["3x3"] and not differing["1x1"]
    if only3 and np.isfinite(error).all() and error.max() <= _NEAR * due["3x3"].max():
        return "winograd"
    return "unknown"


def _predictions(canary: IntegerCanary) -> Iterator[tuple[IntegerArithmetic, Mapping[str, np.ndarray]]]:
    """What known arithmetic gives, by probe, [2,32,16,16]."""
    for toward_zero in (False, True):
        rounded = round_to(canary.weights["wide"], FORMATS["tf32"], toward_zero=toward_zero)
        yield "tf32", {**canary.results, "wide": convolve(canary.images, rounded)}
    for toward_zero in (False, True):
        rounded = round_to(canary.weights["wide"], FORMATS["fp16"], toward_zero=toward_zero)
        for beyond in (np.inf, _LARGEST_HALF):
            held = np.where(rounded > _LARGEST_HALF, beyond, rounded)
            yield "fp16", {**canary.results, "wide": convolve(canary.images, held)}
    for toward_zero in (False, True):
        narrow = {
            name: convolve(canary.images, round_to(weight, FORMATS["bf16"], toward_zero=toward_zero))
            for name, weight in canary.weights.items()
        }
        yield "bf16", {name: round_to(values, FORMATS["bf16"]) for name, values in narrow.items()}
        yield "bf16", narrow  # operands alone
    yield "bf16-results", {name: round_to(values, FORMATS["bf16"]) for name, values in canary.results.items()}
    # Most weights of the wide probe are no float16 numbers, but each of its results is beyond float16's largest anyway.
    yield "fp16-results", {name: _half(values) for name, values in canary.results.items()}
    yield "fp16-results", {name: np.minimum(_half(values), _LARGEST_HALF) for name, values in canary.results.items()}


def _half(values: np.ndarray) -> np.ndarray:
    """Round to float16; infinite beyond its largest."""
    with np.errstate(over="ignore"):
        rounded: np.ndarray = values.astype(np.float16).astype(np.float64)
    return rounded


def _spread(values: np.ndarray) -> np.ndarray:
    """[2,...] -> [32,...], as the images are fed."""
    return np.tile(values, (BATCH // len(values), 1, 1, 1))
