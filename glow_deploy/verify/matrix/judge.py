"""Figures and yardstick in, gated reports out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from glow_deploy.artifact.figures import Figures
from glow_deploy.artifact.flavors import GRAPH_BACKENDS
from glow_deploy.kserve.address import is_remote
from glow_deploy.numerics.gates import (
    Factors,
    GateResult,
    Rules,
    VerdictName,
    bits_limits,
    gate_equivalence,
    gate_error,
    gate_exactness,
    gate_finite,
    gate_promise,
    gate_tolerance,
    growth,
    image_limits,
    latent_limits,
)
from glow_deploy.numerics.measures import half_bin
from glow_deploy.numerics.yardstick import Yardstick
from glow_deploy.verify.backends.backend import KNOWN, REFERENCE, YARDSTICK
from glow_deploy.verify.backends.saved import SAVED
from glow_deploy.verify.report.rows import BatchReport, CellReport, ReferenceReport
from glow_deploy.verify.report.verification import GOLDEN_SET, ImageSetReport

from .cells import CellFigures, ReferenceFigures
from .consistency import ConsistencyFigures

__all__ = [
    "Standard",
    "exactness_expected",
    "judge_batches",
    "judge_cell",
    "judge_reference",
    "standard_for",
    "without_yardstick",
]

CPU = "onnxruntime-cpu"
_BITS_OF_DATA = 8.0  # images that take more lie far from the data: as in gates.py
_PIXEL_EXACT = 0.5  # of a pixel step: what leaves a bin centre in its bin

_OTHER_LATENT = 0.1  # of a latent's own size: whatever the images, one that is off by more is another latent


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What errors made by some backends on one set of images are held to.

    Attributes:
        yardstick: errors that are taken for sound.
        factor: allowed multiple of them.
        factors: where it and the other figures come from.
        narrow: graphs of a narrower precision take part. Their round trips are held to the errors of single passes.
        crossed: so does other arithmetic (PyTorch, ONNX Runtime on the CPU, OpenVINO), and their errors do not cancel.
        paired: the yardstick was measured on these very images.
    """

    yardstick: Yardstick
    factor: float
    factors: Factors
    narrow: bool = False
    crossed: bool = False
    paired: bool = False

    @property
    def x_hat(self) -> Figures:
        """What x -> z -> x is held to."""
        return self.yardstick.decoded if self.narrow else self.yardstick.x_hat

    @property
    def zxz(self) -> tuple[Figures, ...]:
        """What z -> x -> z is held to."""
        return self.yardstick.z if self.narrow else self.yardstick.zxz


def standard_for(images: ImageSetReport, *backends: str, rules: Rules) -> Standard:
    """Choose the yardstick by the arithmetic that the backends really do.

    Float32 PyTorch is held to the float32 yardstick. Graphs in 16 bit are held to what they gave at export: simulated,
    or for ONNX Runtime on the CPU, which computes them in float32, run there.
    """
    own, factors = images.own, rules.own
    if own is None or factors is None or all(name in (REFERENCE, YARDSTICK) for name in backends):
        return Standard(
            yardstick=images.yardstick,
            factor=_factor(images.yardstick, rules.fp32, paired=images.paired),
            factors=rules.fp32,
            paired=images.paired,
        )
    golden = images.name == GOLDEN_SET
    if images.on_cpu is not None and all(name == CPU for name in backends):
        # Float32 arithmetic; only the likelihood bears the rounding of the weights.
        on_cpu = replace(
            rules.fp32,
            ceiling_bits_per_dim=factors.ceiling_bits_per_dim,
            band_bits_per_dim=factors.band_bits_per_dim,
            decode_only=factors.decode_only,
        )
        paired = golden and images.on_cpu.n == images.n
        return Standard(
            yardstick=images.on_cpu,
            factor=_factor(images.on_cpu, on_cpu, paired=paired),
            factors=on_cpu,
            paired=paired,
        )
    # Of few images one may carry all of the error.
    factor = factors.paired if golden and own.n == images.n else factors.unpaired
    return Standard(
        yardstick=own,
        factor=factor * growth(factors, min(own.n, images.n)),
        factors=factors,
        narrow=True,
        crossed=any(name in (REFERENCE, YARDSTICK, CPU) for name in backends)
        or (len({*backends}) > 1 and any(_rounds_as_it_likes(name) for name in backends)),
    )


def _rounds_as_it_likes(name: str) -> bool:
    """Tell whose 16 bit are its own: what OpenVINO keeps depends on the CPU, and of others nothing is known.

    A server, and what was saved elsewhere, are held to what the graphs say.
    """
    return name in GRAPH_BACKENDS or not (name in KNOWN or name == SAVED or is_remote(name))


def exactness_expected(images: ImageSetReport, standard: Standard, *, n_bits: int) -> float | None:
    """The margin that the exactness of these images is gated with; None where it is only reported."""
    if standard.narrow:
        # Of images that it was not calibrated on, a plan promises how many may be beyond the tolerance.
        promised = images.tolerance is not None and images.tolerance <= _PIXEL_EXACT and images.beyond is None
        return 0.0 if promised and not standard.crossed else None
    yardstick, factors = standard.yardstick, standard.factors
    margin = factors.exact_margin * (1.0 if standard.paired else growth(factors, yardstick.n))
    return margin if margin * yardstick.x_hat.max <= half_bin(n_bits) else None


def judge_cell(
    figures: CellFigures,
    *,
    images: ImageSetReport,
    encode: str,
    decode: str,
    rules: Rules,
    n_bits: int,
    partly: bool = False,
) -> CellReport:
    """Gate one cell: x -> z -> x, z -> x -> z per level, exactness; without a reference, bits/dim between backends.

    `partly` is for what was saved elsewhere: a measure without a value was not saved, and is left out.
    """
    standard = standard_for(images, encode, decode, rules=rules)
    yardstick, factor, factors = standard.yardstick, standard.factor, standard.factors
    gates: list[GateResult] = []
    limits = image_limits(
        standard.x_hat, factor=factor, factors=factors, n_bits=n_bits, round_trip=not standard.crossed
    )
    if standard.narrow:
        limits = replace(limits, tail_ceiling=math.inf)  # their errors are rare and large: see gates.py
    gates += gate_error(figures.x, limits, quantity="x -> z -> x", verdict="round_trip")
    if standard.narrow and not standard.crossed and images.tolerance is not None:
        gates.append(
            gate_tolerance(figures.x, images.tolerance, n_bits=n_bits)
            if images.beyond is None
            else gate_promise(figures.beyond, images.n, tolerance=images.tolerance, rate=images.beyond)
        )
    for level, (summary, part) in enumerate(zip(figures.z, standard.zxz, strict=True), 1):
        if partly and not summary.n:
            continue
        latents = latent_limits(part, factor=factor, factors=factors, scale=summary.scale)
        gates += gate_error(summary, latents, quantity=f"z{level} -> x -> z{level}", verdict="round_trip", level=level)
    margin = exactness_expected(images, standard, n_bits=n_bits)
    if margin is not None:
        exact = gate_exactness(figures.exactness, yardstick.x_hat, margin=margin, n_bits=n_bits)
        gates += [exact] if exact is not None else []
    between = "bits/dim between backends"
    if partly and not figures.bits_between.n:
        pass
    elif images.reference or encode == decode:
        gates.append(gate_finite(figures.bits_between, quantity=between, verdict="likelihood"))
    else:
        # Both sides carry an error of their own.
        bits = bits_limits(
            yardstick.bits_per_dim, factor=2.0 * factor, factors=factors, scale=figures.bits_between.scale
        )
        gates += gate_error(figures.bits_between, bits, quantity=between, verdict="likelihood", rms_only=True)
    reported = factors.decode_only
    return CellReport(
        images=images.name,
        encode=encode,
        decode=decode,
        x_error=figures.x,
        exactness=figures.exactness,
        z_error=figures.z,
        bits_per_dim_between=figures.bits_between,
        bits_per_dim_round_trip=figures.bits_round_trip,
        histogram=figures.histogram,
        worst=figures.worst,
        gates=() if reported else tuple(gates),
        reported=reported,
    )


def without_yardstick(
    cell: CellReport, golden: CellReport | None, *, images: ImageSetReport, rules: Rules, n_bits: int
) -> CellReport:
    """Take back a judgement that stands on other images' yardstick alone.

    On images far from the golden ones the trained model itself may err more, and nothing here tells how much. So a
    cell whose images all came back exactly, and that passed on the golden images, is not judged; what no model may do
    fails all the same: lost pixels, values that are not finite, errors at which no model is sound.

    Args:
        cell: as judged.
        golden: the same pair on the golden images; None where there are none.
        images: that the cell is about.
        rules: of the bundle.
        n_bits: of the model.
    """
    missed = [gate for gate in cell.gates if not gate.passed]
    if not missed or images.paired or images.name == GOLDEN_SET or golden is None or not golden.passed:
        return cell
    exact = cell.exactness.images_exact == cell.exactness.images
    factors = standard_for(images, cell.encode, cell.decode, rules=rules).factors
    ceilings = {
        "x -> z -> x": half_bin(n_bits) / 3.0,
        "bits/dim between backends": factors.ceiling_bits_per_dim
        * max(1.0, cell.bits_per_dim_between.scale / _BITS_OF_DATA),
    }

    def bearable(gate: GateResult) -> bool:
        size = 1.0 if gate.level is None else max(1.0, cell.z_error[gate.level - 1].scale)
        ceiling = ceilings.get(gate.quantity, _OTHER_LATENT * size)
        return gate.statistic in ("rms", "p99.9") and gate.value <= ceiling * (
            3.0 if gate.statistic == "p99.9" else 1.0
        )

    excused = all(bearable(gate) for gate in missed)
    return replace(cell, unjudged=True) if exact and excused else cell


def judge_reference(
    figures: ReferenceFigures,
    *,
    images: ImageSetReport,
    backend: str,
    rules: Rules,
    n_bits: int,
    partly: bool = False,
) -> ReferenceReport:
    """Gate one backend against float64: latents per level, bits/dim, and the decode of the reference's latents.

    `partly` is that of `judge_cell`.
    """
    standard = standard_for(images, backend, rules=rules)
    yardstick, factor, factors = standard.yardstick, standard.factor, standard.factors
    gates: list[GateResult] = []
    for level, (summary, base) in enumerate(zip(figures.z, yardstick.z, strict=True), 1):
        latents = latent_limits(base, factor=factor, factors=factors, scale=summary.scale)
        if summary.n or not partly:
            gates += gate_error(summary, latents, quantity=f"z{level}", verdict="round_trip", level=level)
    bits = bits_limits(yardstick.bits_per_dim, factor=factor, factors=factors, scale=figures.bits.scale)
    if figures.bits.n or not partly:
        gates += gate_error(figures.bits, bits, quantity="bits/dim", verdict="likelihood", rms_only=True)
        gates.append(gate_equivalence(figures.bits, factors=factors, quantity="bits/dim"))
    limits = image_limits(
        yardstick.decoded, factor=factor, factors=factors, n_bits=n_bits, round_trip=images.own is None
    )
    if figures.x.n or not partly:
        gates += gate_error(figures.x, limits, quantity="x from the reference's latents", verdict="samples")
    if factors.decode_only:
        gates = [gate for gate in gates if gate.verdict == "samples"]
    return ReferenceReport(
        images=images.name,
        backend=backend,
        z=figures.z,
        bits_per_dim=figures.bits,
        x_error=figures.x,
        gates=tuple(gates),
        reported=partly and not gates,  # graphs for decoding, of which the encoder's results alone were saved
    )


def judge_batches(
    figures: ConsistencyFigures,
    *,
    backend: str,
    role: str,
    images: ImageSetReport,
    rules: Rules,
    n_bits: int,
) -> BatchReport:
    """Gate an engine against itself, by the image that differs most."""
    gates: list[GateResult] = []
    standard = standard_for(images, backend, rules=rules)
    yardstick, factors = standard.yardstick, standard.factors
    widest = Figures(
        rms=max(level.rms for level in yardstick.z),
        p999=max(level.p999 for level in yardstick.z),
        max=max(level.max for level in yardstick.z),
    )
    factor = factors.batch
    for check, results in (("equal rows", figures.equal_rows), ("split batch", figures.split)):
        for output, summary in results.items():
            verdict: VerdictName
            if output == "x":
                verdict = "samples"
                limits = image_limits(yardstick.decoded, factor=factor, factors=factors, n_bits=n_bits)
            elif output == "z":
                verdict = "round_trip"
                limits = latent_limits(widest, factor=factor, factors=factors, scale=summary.scale)
            else:
                verdict = "likelihood"
                limits = bits_limits(yardstick.bits_per_dim, factor=factor, factors=factors, scale=summary.scale)
            gates += gate_error(summary, limits, quantity=f"{output} of {check}", verdict=verdict, rms_only=True)
    return BatchReport(
        backend=backend,
        role=role,
        sizes=figures.sizes,
        worst_size=figures.worst_size,
        bit_equal=figures.bit_equal,
        equal_rows=figures.equal_rows,
        split=figures.split,
        gates=tuple(gates),
    )


def _factor(yardstick: Yardstick, factors: Factors, *, paired: bool) -> float:
    return factors.paired if paired else factors.unpaired * growth(factors, yardstick.n)
