"""Jumps that come from the graphs and not from what runs them: they are the same on every backend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from glow_deploy.verify.report.steps import Direction, Jump, StepRow, WeightFault

from .evidence import Evidence
from .noise import UNIT_ROUNDOFF

__all__ = ["REFERENCE_LIMIT", "UNDO_LIMIT", "reference_jumps", "undo_jump", "weight_jumps"]

UNDO_LIMIT = 30.0
"""What the decoder's step in float64 leaves of the encoder's, over what rounding of the stored 1x1s explains.

Sound models read at most 0.92.
"""

REFERENCE_LIMIT = 30.0
"""Float64 latents minus golden ones, over the backend's own error there: float32 weights alone give about 1."""


def weight_jumps(evidence: Evidence) -> Iterator[Jump]:
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


def undo_jump(row: StepRow, evidence: Evidence) -> Jump | None:
    """Name a step that float64 does not undo, though its weights agree."""
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


def reference_jumps(rows: Sequence[StepRow], evidence: Evidence) -> Iterator[Jump]:
    """Both graphs agree with each other: do they agree with the trained model?"""
    if not evidence.deviations:
        return
    encoding = [row for row in rows if row.direction == "encode"]
    emitting = [row for row in encoding if row.step == "prior" or row.step.endswith("/split")]
    # Narrow weights alone move the latents, also on a backend that computes wider than the graph says.
    wider = [row.local_predicted / row.local_rms for row in encoding if row.local_rms > 0.0]
    room = max(1.0, median(wider)) if wider else 1.0
    for row, (name, deviation) in zip(emitting, evidence.deviations.items(), strict=True):
        usual = room * row.observed_rms
        if not deviation > REFERENCE_LIMIT * usual:
            continue
        ratio = deviation / usual if usual > 0.0 else math.inf
        # Exchanged labels show in every latent whose prior knows the class.
        exchanged = evidence.swapped if row.step == "prior" or evidence.labelled_splits else ""
        cause = (
            f"both graphs agree, but {name} is not the trained model's: a weight of level {name[1:]} is wrong in both"
        )
        yield Jump(
            step="prior" if exchanged else f"level{name[1:]}",
            direction=None,
            kind="reference",
            ratio=ratio,
            limit=REFERENCE_LIMIT,
            cause=exchanged or cause,
            advice="export the model again; give --ckpt to have the step named",
        )
        return
