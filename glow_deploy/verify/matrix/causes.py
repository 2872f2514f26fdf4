"""From missed gates to a sentence an engineer can act on: which cell, which level, and what it looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glow_deploy.numerics.gates import GateResult
from glow_deploy.numerics.measures import ErrorSummary
from glow_deploy.verify.backends.backend import REFERENCE, YARDSTICK
from glow_deploy.verify.report.rows import BatchReport, CellReport, ReferenceReport, spelt_sizes
from glow_deploy.verify.report.verification import Failure, ImageSetReport

__all__ = ["explain"]


def explain(
    references: Sequence[ReferenceReport],
    cells: Sequence[CellReport],
    batches: Sequence[BatchReport],
    *,
    images: Sequence[ImageSetReport],
    reduced: Mapping[str, str] | None = None,
) -> tuple[Failure, ...]:
    """List what failed, engines before the cells they spoil.

    Args:
        references: of all image sets.
        cells: of all image sets.
        batches: self-consistency.
        images: the sets.
        reduced: what backends compute float32 convolutions in, by name, where that was measured and is not float32.
    """
    sets = {report.name: report for report in images}
    failures: list[Failure] = []
    for reference in references:
        own = next(
            (c for c in cells if c.images == reference.images and c.encode == c.decode == reference.backend), None
        )
        failures += _reference_failures(reference, own, n=sets[reference.images].n)
    for cell in cells:
        known = {r.backend: r for r in references if r.images == cell.images}
        failures += _cell_failures(cell, known, n=sets[cell.images].n)
    for batch in batches:
        failures += _batch_failures(batch)
    return tuple(_of_the_arithmetic(_beyond_the_engines(failure, sets), reduced or {}) for failure in failures)


def _of_the_arithmetic(failure: Failure, reduced: Mapping[str, str]) -> Failure:
    """Name measured arithmetic before any weight is suspected."""
    words = failure.where.replace(",", " ").split()
    cause = "; ".join(
        f"{name} computes float32 convolutions in {text}" for name, text in reduced.items() if name in words
    )
    return replace(failure, cause=cause) if cause else failure


def _beyond_the_engines(failure: Failure, sets: Mapping[str, ImageSetReport]) -> Failure:
    """Say so where the images or the trained model, rather than an engine, may be to blame."""
    images = sets.get(failure.images)
    if images is None:
        return failure
    if images.yardstick.non_finite:
        return replace(
            failure, cause="the trained model itself overflows in float32 on these images: it is not invertible there"
        )
    if not images.paired:
        advice = (
            "or these images lie so far from the golden ones that the trained model itself loses digits: give --ckpt "
            "to measure that"
        )
        return replace(failure, cause=f"{failure.cause}; {advice}")
    return failure


def _reference_failures(report: ReferenceReport, own: CellReport | None, *, n: int) -> list[Failure]:
    found = []
    where = f"{report.backend} against float64, {n} {report.images} images"
    missed = [gate for gate in report.gates if not gate.passed]
    latents = [gate for gate in missed if gate.level is not None]
    if latents:
        # A fault in level k leaves the latents of the finer levels before it untouched.
        gate = latents[0]
        assert gate.level is not None
        cause = _latent_cause(report.z[gate.level - 1], level=gate.level, side="encoder")
        if report.backend in (REFERENCE, YARDSTICK):
            cause = f"is --ckpt the checkpoint this bundle was exported from? {cause}"
        found.append(_failure(gate, where=f"encode {where}", level=gate.level, cause=cause, images=report.images))
    bits = [gate for gate in missed if gate.verdict == "likelihood"]
    if bits:
        cause = (
            "the density follows the latents, which are off"
            if latents
            else "the latents are right: a log-determinant or the sum of log densities is wrong"
        )
        level = latents[0].level if latents else None
        found.append(_failure(bits[0], where=f"encode {where}", level=level, cause=cause, images=report.images))
    pictures = [gate for gate in missed if gate.verdict == "samples"]
    if pictures:
        # A sound encoder of the same backend shows at which level the decoder's picture leaves the latents.
        back = [gate.level for gate in own.gates if not gate.passed and gate.level is not None] if own else []
        level = back[0] if back and not latents else None
        if own is not None and level is not None:
            cause = _latent_cause(own.z_error[level - 1], level=level, side="decoder")
        else:
            cause = _picture_cause(report.x_error, side="decoder")
        found.append(_failure(pictures[0], where=f"decode {where}", level=level, cause=cause, images=report.images))
    return found


def _cell_failures(report: CellReport, known: Mapping[str, ReferenceReport], *, n: int) -> list[Failure]:
    if report.passed:
        return []  # some limits may be missed that need not be those of these images
    where = f"encode {report.encode} -> decode {report.decode}, {n} {report.images} images"
    missed = [gate for gate in report.gates if not gate.passed]
    found = []
    round_trip = [gate for gate in missed if gate.verdict == "round_trip"]
    if round_trip:
        latents = [gate for gate in round_trip if gate.level is not None]
        level = _encoder_level(known.get(report.encode))
        side = "encoder"
        if level is None:
            side = "decoder" if _decoder_off(known.get(report.decode)) else "encoder or decoder"
            level = latents[0].level if latents else None
        if level is not None:
            cause = _latent_cause(report.z_error[level - 1], level=level, side=side)
        else:
            cause = _picture_cause(report.x_error, side=side)
        found.append(_failure(round_trip[0], where=where, level=level, cause=cause, images=report.images))
    likelihood = [gate for gate in missed if gate.verdict == "likelihood"]
    if likelihood:
        cause = "the two encoders do not give the same density for the same image"
        found.append(_failure(likelihood[0], where=where, level=None, cause=cause, images=report.images))
    return found


def _batch_failures(report: BatchReport) -> list[Failure]:
    missed = [gate for gate in report.gates if not gate.passed]
    if not missed:
        return []
    gate = missed[0]
    cause = (
        f"the result depends on the other images of the batch or on its size, most of all at {report.worst_size}; "
        "verify with --batch 1 to tell, and report it to the backend's maintainers"
    )
    where = f"{report.backend} {report.role} at batches {spelt_sizes(report.sizes)}"
    return [_failure(gate, where=where, level=None, cause=cause)]


def _failure(gate: GateResult, *, where: str, level: int | None, cause: str, images: str = "") -> Failure:
    return Failure(verdict=gate.verdict, where=where, images=images, level=level, gate=gate, cause=cause)


def _encoder_level(report: ReferenceReport | None) -> int | None:
    if report is None:
        return None
    levels = [gate.level for gate in report.gates if not gate.passed and gate.level is not None]
    return levels[0] if levels else None


def _decoder_off(report: ReferenceReport | None) -> bool:
    return report is not None and any(not gate.passed for gate in report.gates if gate.verdict == "samples")


def _latent_cause(summary: ErrorSummary, *, level: int, side: str) -> str:
    if summary.non_finite:
        return f"values overflow in level {level} of the {side}: look at its scales and its 1x1 weights"
    slope, scale, rms = summary.slope, summary.scale, summary.rms
    if not math.isfinite(slope) or scale == 0.0:
        return f"level {level} of the {side} is off"
    # What is left of the error once the best scaling of the latent is taken out.
    rest = math.sqrt(max(0.0, rms**2 - ((1.0 - slope) * scale) ** 2))
    if abs(slope) < 0.2 and rms > 0.7 * scale:
        if rest < 0.3 * scale:
            return f"z{level} is dropped: it comes back as nearly 0"
        return f"z{level} has nothing to do with what is expected: exchanged with another, or of another model"
    if abs(1.0 - slope) > 0.02 and rest < 0.25 * abs(1.0 - slope) * scale:
        return f"z{level} comes back scaled by {slope:.2f}: a temperature applied once too often?"
    relative = rms / scale
    if 5e-5 < relative < 5e-3:
        return (
            f"level {level} of the {side} computes with fewer bits (TF32, or rounded weights), or one of its weights "
            "is slightly off"
        )
    return f"a weight in level {level} of the {side} is not that of the trained model"


def _picture_cause(summary: ErrorSummary, *, side: str) -> str:
    if summary.non_finite:
        return f"values overflow in the {side}: look at its scales and its 1x1 weights"
    if summary.scale > 0.0 and 5e-5 < summary.rms / summary.scale < 5e-3:
        return f"the {side} computes with fewer bits (TF32, or rounded weights), or one of its weights is slightly off"
    return f"the {side} is not the inverse of the trained model's"
