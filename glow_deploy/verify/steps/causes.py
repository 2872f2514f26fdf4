"""From figures out of bounds to the step to look at, why it is so, and what to do.

The bounds, and what sound models show (four trained ones, Fashion-MNIST and faces at 5 and 8 bits, and 72 perturbed
ones of all options; float32 on ONNX Runtime, and the trained ones in mixed, bf16-mixed and fp16, simulated): own error
over `StageNoise.ceiling` at most 0.89, bound 3; own error over u*rms(h) at most 4, bound 64 (6 bits lost in one step);
error after over error before a step at most 7.2, bound 64. Simulated TF32 in the conditioners alone, which shows least,
reads 80 and more over the ceiling in the trained models' first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glow_deploy.verify.report.steps import Direction, Jump, StepRow

from .evidence import Evidence
from .graph_causes import reference_jumps, undo_jump, weight_jumps
from .noise import UNIT_ROUNDOFF, StageNoise
from .numbers import StepNumbers

__all__ = [
    "ARITHMETIC_LIMIT",
    "CONDITION_LIMIT",
    "GAIN_LIMIT",
    "find_jumps",
]

ARITHMETIC_LIMIT = 3.0
"""Own error over what no order of summation exceeds."""

CONDITION_LIMIT = 64.0
"""Own error over u*rms(h): a step that loses 6 bits by itself."""

GAIN_LIMIT = 64.0
"""Error after a step over error before it."""

_LARGEST_HALF = 65504.0
_WORDS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_SIMILAR = 6.0  # two figures within this factor tell the same story
_PARTLY = 200.0  # one convolution of several, where the others' rounding weighs more


def find_jumps(rows: Sequence[StepRow], evidence: Evidence) -> tuple[Jump, ...]:
    """Name the steps of one backend that are out of bounds, the one to look at first in front.

    Args:
        rows: of the backend, encoding first, in the order of computation.
        evidence: what else is known.
    """
    jumps = list(weight_jumps(evidence))
    faulty = {fault.step for fault in evidence.faults}
    lost: set[Direction] = set()
    for row in rows:
        if row.direction in lost:
            continue
        jump = _overflow(row, evidence)
        if jump is not None:
            # Nothing after it can be judged.
            lost.add(row.direction)
        elif not _departed(row):
            jump = _arithmetic(row, evidence)
        if jump is None and row.step not in faulty:
            jump = undo_jump(row, evidence)
        jump = jump or _conditioning(row, evidence) or _gain(row, evidence)
        jumps += [jump] if jump is not None else []
    if not jumps:
        jumps += reference_jumps(rows, evidence)
    return tuple(jumps)


def _departed(row: StepRow) -> bool:
    """Whether the backend is so far from float64 before the step that what it does there says nothing here."""
    return row.predicted_rms > 0.1 * row.rms


def _overflow(row: StepRow, evidence: Evidence) -> Jump | None:
    bad = row.non_finite + row.reference_non_finite
    if not bad:
        return None
    cause, advice = _overflow_cause(row, evidence)
    return Jump(
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
    if noise.largest > _LARGEST_HALF:
        return (
            f"its conditioner reaches {noise.largest:.1e}, which float32 holds and float16, ending at 65504, does not",
            "see that the backend runs this step in float32",
        )
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
    shares = {name: row.local_rms / error for name, error in stories.items() if error > 0.0}
    advice = "turn TF32 off: compile without --tf32, and see that nothing sets it for ONNX Runtime"
    for name, share in shares.items():
        if 1 / _SIMILAR < share < _SIMILAR:
            return f"{name} round to 11 bits, as TF32 and float16 do", advice
    if any(1 / _PARTLY < share < 1.0 for share in shares.values()):
        return "some of its convolutions round to 11 bits, as TF32 and float16 do", advice
    if row.local_rms > 0.1 * row.rms:
        return "it computes something else than its graph says", "report it to the backend's maintainers"
    return (
        "it rounds more coarsely than its number, by no format that is known here",
        "keep this step in float32, and report it to the backend's maintainers",
    )


def _conditioning(row: StepRow, evidence: Evidence) -> Jump | None:
    noise, numbers = evidence.noise[row.direction, row.step], evidence.planned[row.step]
    if not row.rms > 0.0:
        return None
    trunk, inner = noise.trunk / row.rms, noise.conditioner / row.rms
    own = 0.0 if _departed(row) else row.local_rms / (numbers.unit * row.rms)
    ratio = max(own, trunk, inner)
    if not ratio > CONDITION_LIMIT:
        return None
    kappa = evidence.kappa.get(row.step, 1.0)
    # When decoding, the 1x1 comes last and magnifies the conditioner's rounding too.
    if trunk >= inner or min(kappa, trunk) > CONDITION_LIMIT:
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
