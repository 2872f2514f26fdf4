"""From figures out of bounds to the step to look at, why it is so, and what to do.

The bounds, and what sound models show (two trained ones, Fashion-MNIST and faces, and 72 perturbed ones of all
options; ONNX Runtime, float32): own error over `StageNoise.ceiling` at most 1.2, bound 3; own error over u*rms(h) at
most 4, bound 64 (6 bits lost in one step); error after over error before a step at most 4.4, bound 64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .noise import UNIT_ROUNDOFF, StageNoise
from .numbers import StepNumbers
from .report import Direction, Jump, StepRow, WeightFault

__all__ = [
    "ARITHMETIC_LIMIT",
    "CONDITION_LIMIT",
    "GAIN_LIMIT",
    "REFERENCE_LIMIT",
    "UNDO_LIMIT",
    "Evidence",
    "find_jumps",
]

ARITHMETIC_LIMIT = 3.0
"""Own error over what no order of summation exceeds. TF32 in one step reads at least 60 (width 512)."""

CONDITION_LIMIT = 64.0
"""Own error over u*rms(h): a step that loses 6 bits by itself."""

GAIN_LIMIT = 64.0
"""Error after a step over error before it."""

UNDO_LIMIT = 30.0
"""What the decoder's step in float64 leaves of the encoder's, over what rounding of the stored 1x1s explains."""

REFERENCE_LIMIT = 30.0
"""Float64 latents minus golden ones, over the backend's own error there: float32 weights alone give about 1."""

_LARGEST_HALF = 65504.0
_WORDS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_SIMILAR = 6.0  # two figures within this factor tell the same story
_PARTLY = 200.0  # one convolution of several, where the others' rounding weighs more


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is known besides one backend's rows.

    Attributes:
        noise: of every stage.
        planned: numbers each step should run in.
        stored: numbers each graph has it run in.
        kappa: condition number of each step's 1x1.
        inverse_scales: largest factor that each step's coupling multiplies by when decoding.
        bounded: whether the scale is bounded, so that the factor is at most 2.
        faults: of the weights.
        deviations: of the float64 latents from the golden ones.
        swapped: words about exchanged class labels of the golden vectors; empty where they fit.
    """

    noise: Mapping[tuple[Direction, str], StageNoise]
    planned: Mapping[str, StepNumbers]
    stored: Mapping[Direction, Mapping[str, StepNumbers]]
    kappa: Mapping[str, float]
    inverse_scales: Mapping[str, float]
    bounded: bool
    faults: Sequence[WeightFault]
    deviations: Mapping[str, float]
    swapped: str = ""


def find_jumps(rows: Sequence[StepRow], evidence: Evidence) -> tuple[Jump, ...]:
    """Name the steps of one backend that are out of bounds, the one to look at first in front.

    Args:
        rows: of the backend, encoding first, in the order of computation.
        evidence: what else is known.
    """
    jumps = list(_weights(evidence))
    faulty = {fault.step for fault in evidence.faults}
    jumps += _overflows(rows, evidence)
    for row in rows:
        jump = _arithmetic(row, evidence)
        jumps += [jump] if jump is not None else []
    for row in rows:
        jump = _undo(row, evidence) if row.step not in faulty else None
        jumps += [jump] if jump is not None else []
    for row in rows:
        if not any(jump.step == row.step and jump.direction == row.direction for jump in jumps):
            jump = _conditioning(row, evidence) or _gain(row, evidence)
            jumps += [jump] if jump is not None else []
    if not jumps:
        jumps += _reference(rows, evidence)
    return tuple(jumps)


def _weights(evidence: Evidence) -> Iterator[Jump]:
    """One a step and graph, for the weight that is furthest off."""
    worst: dict[tuple[str, Direction | None], list[WeightFault]] = {}
    for fault in evidence.faults:
        worst.setdefault((fault.step, fault.direction), []).append(fault)
    for (step, direction), faults in worst.items():
        fault = max(faults, key=lambda fault: (bool(fault.coarse), fault.difference))
        others = [other.weight for other in faults if other is not fault]
        more = f" (and {', '.join(dict.fromkeys(others))})" if others else ""
        if fault.coarse:
            cause = f"{fault.coarse}{more}: {fault.detail}"
            advice = "export the model again from full weights"
        else:
            cause = f"{fault.detail}{more}"
            advice = "export the model again, and find out what changed the graph"
        yield Jump(
            step=step,
            direction=direction,
            kind="weights",
            ratio=fault.difference,
            limit=1.0,
            cause=cause,
            advice=advice,
        )


def _overflows(rows: Sequence[StepRow], evidence: Evidence) -> Iterator[Jump]:
    seen = set()
    for row in rows:
        bad = row.non_finite + row.reference_non_finite
        if not bad or row.direction in seen:
            continue
        seen.add(row.direction)
        cause, advice = _overflow_cause(row, evidence)
        yield Jump(
            step=row.step,
            direction=row.direction,
            kind="overflow",
            ratio=math.inf,
            limit=0.0,
            cause=f"{bad} values are not finite: {cause}",
            advice=advice,
        )


def _overflow_cause(row: StepRow, evidence: Evidence) -> tuple[str, str]:
    if row.reference_non_finite:
        return "the model overflows in float64 too", "retrain with the bounded scale; no precision repairs this"
    numbers, noise = evidence.stored[row.direction][row.step], evidence.noise[row.direction, row.step]
    if "fp16" in (numbers.trunk, numbers.conditioner):
        reach = f", and its conditioner reaches {noise.largest:.1e}" if noise.largest > 0.0 else ""
        beyond = "beyond" if noise.largest > _LARGEST_HALF else "at"
        return (
            f"{beyond} the range of float16, which ends at 65504{reach}",
            "keep this step in float32 (--precision auto), or use bf16-mixed",
        )
    scale = evidence.inverse_scales.get(row.step, 1.0)
    if row.direction == "decode" and scale > GAIN_LIMIT:
        return f"the affine scale falls to {1 / scale:.1e} here", "retrain with the bounded scale"
    return "beyond the range of float32", "look at this step's scales and its 1x1 weights"


def _arithmetic(row: StepRow, evidence: Evidence) -> Jump | None:
    noise, planned = evidence.noise[row.direction, row.step], evidence.planned[row.step]
    expected, ceiling = noise.expected(**planned.units), noise.ceiling(**planned.units)
    if not row.local_rms > ARITHMETIC_LIMIT * ceiling:
        return None
    cause, advice = _arithmetic_cause(row, noise, planned, evidence.stored[row.direction][row.step])
    return Jump(
        step=row.step,
        direction=row.direction,
        kind="arithmetic",
        ratio=row.local_rms / expected if expected > 0.0 else math.inf,
        limit=ARITHMETIC_LIMIT * ceiling / expected if expected > 0.0 else 0.0,
        cause=cause,
        advice=advice,
    )


def _arithmetic_cause(row: StepRow, noise: StageNoise, planned: StepNumbers, stored: StepNumbers) -> tuple[str, str]:
    for part, wanted, found in (
        ("conditioner", planned.conditioner, stored.conditioner),
        ("trunk", planned.trunk, stored.trunk),
    ):
        if UNIT_ROUNDOFF[found] > UNIT_ROUNDOFF[wanted]:
            return (
                f"the graph computes its {part} in {_WORDS[found]} where the plan has {_WORDS[wanted]}",
                "export the model again; keep this step in float32",
            )
    narrow = UNIT_ROUNDOFF["tf32"]
    stories = {
        "its convolutions": noise.expected(trunk=narrow, conditioner=narrow),
        "its conditioner's convolutions": noise.expected(trunk=planned.units["trunk"], conditioner=narrow),
    }
    best = min(stories, key=lambda name: abs(math.log(row.local_rms / stories[name])) if stories[name] else math.inf)
    share = row.local_rms / stories[best] if stories[best] else math.inf
    if 1 / _PARTLY < share < _SIMILAR:
        some = "" if share > 1 / _SIMILAR else "some of "
        return (
            f"{some}{best} round to 11 bits, as TF32 and float16 do",
            "turn TF32 off: compile without --tf32, and see that nothing sets it for ONNX Runtime",
        )
    if row.local_rms > 0.1 * row.rms:
        return "it computes something else than its graph says", "report it to the backend's maintainers"
    return (
        "it rounds more coarsely than its number, by no format that is known here",
        "keep this step in float32, and report it to the backend's maintainers",
    )


def _undo(row: StepRow, evidence: Evidence) -> Jump | None:
    noise, stored = evidence.noise[row.direction, row.step], evidence.stored[row.direction][row.step]
    expected = noise.expected(trunk=UNIT_ROUNDOFF[stored.trunk], conditioner=UNIT_ROUNDOFF["fp32"])
    if not row.undo_rms > UNDO_LIMIT * expected:
        return None
    return Jump(
        step=row.step,
        direction=row.direction,
        kind="undo",
        ratio=row.undo_rms / expected if expected > 0.0 else math.inf,
        limit=UNDO_LIMIT,
        cause="the decoder's step does not undo the encoder's in float64, though their weights agree: a constant or an "
        "operator is wrong",
        advice="export the model again",
    )


def _conditioning(row: StepRow, evidence: Evidence) -> Jump | None:
    noise, numbers = evidence.noise[row.direction, row.step], evidence.planned[row.step]
    if not row.rms > 0.0:
        return None
    trunk, inner = noise.trunk / row.rms, noise.conditioner / row.rms
    ratio = max(row.local_rms / (numbers.unit * row.rms), trunk, inner)
    if not ratio > CONDITION_LIMIT:
        return None
    kappa = evidence.kappa.get(row.step, 1.0)
    if trunk >= inner:
        cause = f"its 1x1 is badly conditioned (kappa {kappa:.1e}): its products cancel and leave few digits"
        advice = "keep it in float32, and retrain with the conditioning penalty"
    else:
        cause = f"its conditioner magnifies its own rounding {inner:.0f} times (values up to {noise.largest:.1e})"
        advice = "keep its conditioner in float32" + (
            "" if evidence.bounded else ", and retrain with the bounded scale"
        )
    return Jump(
        step=row.step,
        direction=row.direction,
        kind="conditioning",
        ratio=ratio,
        limit=CONDITION_LIMIT,
        cause=cause,
        advice=advice,
    )


def _gain(row: StepRow, evidence: Evidence) -> Jump | None:
    if row.gain is None or not row.gain > GAIN_LIMIT:
        return None
    kappa = evidence.kappa.get(row.step, 1.0)
    scale = evidence.inverse_scales.get(row.step, 1.0) if row.direction == "decode" else 1.0
    if scale > max(kappa, GAIN_LIMIT):
        cause = f"its affine scale falls to {1 / scale:.1e}, so that decoding multiplies the error by {scale:.1e}"
        advice = "retrain with the bounded scale"
    elif kappa > GAIN_LIMIT:
        cause = (
            f"its 1x1 is badly conditioned (kappa {kappa:.1e}) and magnifies what error there is {row.gain:.0f} times"
        )
        advice = "keep it in float32, and retrain with the conditioning penalty"
    else:
        cause = f"it magnifies the error it is handed {row.gain:.0f} times"
        advice = "retrain with the bounded scale" if not evidence.bounded else "look at its scales and its split"
    return Jump(
        step=row.step,
        direction=row.direction,
        kind="gain",
        ratio=row.gain,
        limit=GAIN_LIMIT,
        cause=cause,
        advice=advice,
    )


def _reference(rows: Sequence[StepRow], evidence: Evidence) -> Iterator[Jump]:
    """Both graphs agree with each other: do they agree with the trained model?"""
    emitting = [row for row in rows if row.direction == "encode" and (row.step == "prior" or "/split" in row.step)]
    for row, (name, deviation) in zip(emitting, evidence.deviations.items(), strict=False):
        ratio = deviation / row.observed_rms if row.observed_rms > 0.0 else math.inf
        if not deviation > REFERENCE_LIMIT * row.observed_rms:
            continue
        last = row.step == "prior"
        cause = (
            f"both graphs agree, but {name} is not the trained model's: a weight of level {name[1:]} is wrong in both"
        )
        if last and evidence.swapped:
            cause = evidence.swapped
        yield Jump(
            step="prior" if last and evidence.swapped else f"level{name[1:]}",
            direction=None,
            kind="reference",
            ratio=ratio,
            limit=REFERENCE_LIMIT,
            cause=cause,
            advice="export the model again; give --ckpt to have the step named",
        )
        return
