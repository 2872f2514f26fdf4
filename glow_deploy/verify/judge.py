"""Figures and yardstick in, gated reports out."""

from __future__ import annotations

from .consistency import ConsistencyFigures
from .gates import (
    Factors,
    GateResult,
    bits_limits,
    gate_error,
    gate_exactness,
    gate_finite,
    growth,
    image_limits,
    latent_limits,
)
from .matrix import CellFigures, ReferenceFigures
from .report import ImageSetReport
from .rows import BatchReport, CellReport, ReferenceReport
from .yardstick import Figures, Yardstick

__all__ = ["exactness_expected", "judge_batches", "judge_cell", "judge_reference"]


def exactness_expected(images: ImageSetReport, *, factors: Factors, n_bits: int) -> float | None:
    """The margin that the exactness of these images is gated with; None where it is only reported."""
    margin = factors.exact_margin * (1.0 if images.paired else growth(factors, images.yardstick.n))
    return margin if margin * images.yardstick.x_hat.max <= 2.0 ** -(n_bits + 1) else None


def judge_cell(
    figures: CellFigures, *, images: ImageSetReport, encode: str, decode: str, factors: Factors, n_bits: int
) -> CellReport:
    """Gate one cell: x -> z -> x, z -> x -> z per level, exactness; without a reference, bits/dim between backends."""
    yardstick = images.yardstick
    factor = _factor(images, factors)
    gates: list[GateResult] = []
    limits = image_limits(yardstick.x_hat, factor=factor, factors=factors, n_bits=n_bits)
    gates += gate_error(figures.x, limits, measure="x -> z -> x")
    for level, (summary, base) in enumerate(zip(figures.z, yardstick.zxz, strict=True), 1):
        latents = latent_limits(base, factor=factor, factors=factors, scale=summary.scale)
        gates += gate_error(summary, latents, measure=f"z{level} -> x -> z{level}", level=level)
    margin = exactness_expected(images, factors=factors, n_bits=n_bits)
    if margin is not None:
        exact = gate_exactness(figures.exactness, yardstick.x_hat, margin=margin, n_bits=n_bits)
        gates += [exact] if exact is not None else []
    gates.append(gate_finite(figures.bits_between, measure="bits/dim between backends"))
    if not images.reference and encode != decode:
        # Both sides carry an error of their own.
        bits = bits_limits(
            yardstick.bits_per_dim, factor=2.0 * factor, factors=factors, scale=figures.bits_between.scale
        )
        gates = gates[:-1]
        gates += gate_error(figures.bits_between, bits, measure="bits/dim between backends", rms_only=True)
    return CellReport(
        images=images.name,
        encode=encode,
        decode=decode,
        x_error=figures.x,
        exactness=figures.exactness,
        z_error=figures.z,
        bits_per_dim_between=figures.bits_between,
        bits_per_dim_round_trip=figures.bits_round_trip,
        gates=tuple(gates),
    )


def judge_reference(
    figures: ReferenceFigures, *, images: ImageSetReport, backend: str, factors: Factors, n_bits: int
) -> ReferenceReport:
    """Gate one backend against float64: latents per level, bits/dim, and the decode of the reference's latents."""
    yardstick = images.yardstick
    factor = _factor(images, factors)
    gates: list[GateResult] = []
    for level, (summary, base) in enumerate(zip(figures.z, yardstick.z, strict=True), 1):
        latents = latent_limits(base, factor=factor, factors=factors, scale=summary.scale)
        gates += gate_error(summary, latents, measure=f"z{level}", level=level)
    bits = bits_limits(yardstick.bits_per_dim, factor=factor, factors=factors, scale=figures.bits.scale)
    gates += gate_error(figures.bits, bits, measure="bits/dim", rms_only=True)
    limits = image_limits(yardstick.x_hat, factor=factor, factors=factors, n_bits=n_bits)
    gates += gate_error(figures.x, limits, measure="x from the reference's latents")
    return ReferenceReport(
        images=images.name,
        backend=backend,
        z=figures.z,
        bits_per_dim=figures.bits,
        x_error=figures.x,
        gates=tuple(gates),
    )


def judge_batches(
    figures: ConsistencyFigures,
    *,
    backend: str,
    role: str,
    yardstick: Yardstick,
    factors: Factors,
    n_bits: int,
) -> BatchReport:
    """Gate an engine against itself, by the image that differs most."""
    gates: list[GateResult] = []
    widest = Figures(
        rms=max(level.rms for level in yardstick.z),
        p999=max(level.p999 for level in yardstick.z),
        max=max(level.max for level in yardstick.z),
    )
    factor = factors.batch
    for check, results in (("equal rows", figures.equal_rows), ("split batch", figures.split)):
        for output, summary in results.items():
            if output == "x":
                limits = image_limits(yardstick.x_hat, factor=factor, factors=factors, n_bits=n_bits)
            elif output == "z":
                limits = latent_limits(widest, factor=factor, factors=factors, scale=summary.scale)
            else:
                limits = bits_limits(yardstick.bits_per_dim, factor=factor, factors=factors, scale=summary.scale)
            gates += gate_error(summary, limits, measure=f"{output} of {check}", rms_only=True)
    return BatchReport(
        backend=backend,
        role=role,
        sizes=figures.sizes,
        bit_equal=figures.bit_equal,
        equal_rows=figures.equal_rows,
        split=figures.split,
        gates=tuple(gates),
    )


def _factor(images: ImageSetReport, factors: Factors) -> float:
    return factors.paired if images.paired else factors.unpaired * growth(factors, images.yardstick.n)
