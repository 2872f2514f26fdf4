"""Examining graphs that compute in 16 bit, whose errors the float32 yardstick cannot judge.

What they make of the golden images becomes a yardstick of their own in the manifest. So that a wrong graph does not
become its own measure, it is held against a simulation that starts from the float32 graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.figures import ErrorFigures, Figures
from glow_deploy.artifact.lint import read_model
from glow_deploy.artifact.sixteen_bit import PrecisionFigures, RangeFigures, TensorFigures
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.images import bits_per_dim
from glow_deploy.numerics.measures import ErrorSummary, ExactnessAccumulator, half_bin, summarize
from glow_deploy.precision.simulate import open_simulated
from glow_deploy.protocol import Engine, Role

from .coded import Coded
from .examine import Findings, Report, judge_model, measure_yardstick
from .plan import NARROW_IMAGES, range_check
from .selfcheck import SelfCheck, batch_sizes, check_graphs, run_decoder, run_encoder
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_deploy.folding import FoldedGlow
    from glow_deploy.precision.ranges import RangeReport

    from .build import WrittenGraph
    from .images import GoldenImages
    from .plan import Planned
    from .reference import TrainedReference

__all__ = ["examine_narrow"]

# Real graph over simulation, in the rms error of one pass. The two round at the same places and add in another order.
_LIKE_SIMULATION = 3.0


def examine_narrow(
    images: GoldenImages,
    reference: TrainedReference,
    graphs: Callable[[], Mapping[Role, WrittenGraph]],
    folded: FoldedGlow,
    planned: Planned,
    settings: ExportSettings,
    report: Report,
) -> Findings:
    """Run the model in float64 and float32 on the golden images, then narrow graphs and the simulation of them.

    Args:
        images: the golden images come first.
        reference: the trained model.
        graphs: gives them once they are written.
        folded: what they were built from; the simulation starts from it.
        planned: what they were built to.
        settings: for the number of golden images.
        report: told the stages.

    Raises:
        EngineError: ONNX Runtime cannot run a graph.
    """
    rows = slice(0, max(settings.golden or 0, NARROW_IMAGES))
    x, y = images.x[rows], None if images.y is None else images.y[rows]
    golden = reference.code("fp64", x, y, progress=lambda done: report("float64 reference", done, len(x)))
    report("float32 yardstick")
    single = reference.code("fp32", x, y)
    n_bits = folded.n_bits
    problems = judge_model(golden, single, n_bits)
    figures = measure_yardstick(reference, golden, single)
    if problems:
        return Findings(golden=golden, yardstick=figures, source=images.source, problems=problems)
    plan = planned.plan
    report("checking the range of float16")
    ranges = range_check(folded, plan, x, y)
    overflows = ranges.problems(min_bits=0.0)
    if plan.trunk == "fp32":
        problems += overflows
    report("checking the float32 graphs in ONNX Runtime")
    check = _check_float32(folded, golden, single)
    problems += [
        f"{gate.quantity}: {gate.statistic} {gate.value:.2e}, limit {gate.limit:.2e}" for gate in check.failures
    ]
    report("checking the graphs against a simulation")
    with ExitStack() as stack:
        encoder, decoder = (stack.enter_context(engine) for engine in open_simulated(folded, plan))
        expected = _measure(encoder, decoder, golden, n_bits=n_bits)
    problems += _judge(expected, plan, n_bits=n_bits, tolerance=planned.tolerance)
    written = graphs()
    ran = None
    if "bf16" in plan.numbers:
        # ONNX Runtime's CPU provider has no bfloat16 convolution: the files themselves are simulated.
        with ExitStack() as stack:
            files = {role: read_model(graph.path) for role, graph in written.items()}
            encoder, decoder = (stack.enter_context(engine) for engine in open_simulated(files))
            problems += _compare(_measure(encoder, decoder, golden, n_bits=n_bits), expected)
    else:
        # Convolutions in float16 it computes in float32, so that a run shows whether the graphs are right, and not what
        # they are worth on a GPU.
        with written["encoder"].open() as encoder, written["decoder"].open() as decoder:
            ran = _measure(encoder, decoder, golden, n_bits=n_bits)
        problems += _compare(ran, expected)
    precision = PrecisionFigures(
        plan=plan.to_dict(),
        share_16_bit=plan.share(folded),
        measured_on="simulation",
        figures=expected.figures(),
        exact_images=expected.exact_images,
        onnxruntime_cpu=None if ran is None else ran.figures(),
        ranges=_ranges(ranges),
        choice=None if planned.choice is None else planned.choice.figures(),
    )
    return Findings(
        golden=golden,
        yardstick=figures,
        source=images.source,
        check=check,
        precision=precision,
        problems=problems,
        notes=() if problems else ranges.problems(),
    )


def _check_float32(folded: FoldedGlow, golden: Coded, single: Coded) -> SelfCheck:
    """Hold the float32 graphs that the simulation starts from to float32's own limits."""
    with ExitStack() as stack:
        engines = open_simulated(folded, PrecisionPlan.uniform("fp32", folded))
        encoder, decoder = (stack.enter_context(engine) for engine in engines)
        z, log_prob = run_encoder(encoder, golden.x, golden.y)
        x_hat = run_decoder(decoder, z, golden.y)
    graphs = Coded(x=golden.x, z=z, log_prob=log_prob, x_hat=x_hat, y=golden.y)
    return check_graphs(
        graphs=graphs,
        batches=batch_sizes(len(golden.x)),
        reference=golden,
        single=single,
        n_bits=folded.n_bits,
        precision="fp32",
    )


def _ranges(ranges: RangeReport) -> RangeFigures:
    """For the manifest: the headroom of every step, and the tensor that has least."""
    worst = ranges.worst
    return RangeFigures(
        images=ranges.images,
        headroom_bits=ranges.headroom_of_steps(),
        worst=None
        if worst is None
        else TensorFigures(
            name=worst.name,
            number=worst.number,
            largest=worst.largest,
            headroom_bits=worst.headroom_bits,
            subnormal_share=worst.subnormal_share,
            non_finite=worst.non_finite,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    n: int
    x_hat: ErrorSummary
    x_from_z: ErrorSummary
    z: tuple[ErrorSummary, ...]
    bits_per_dim: ErrorSummary
    zxz: tuple[ErrorSummary, ...]
    exact_images: int

    def figures(self) -> ErrorFigures:
        """For the manifest."""
        return ErrorFigures(
            n=self.n,
            x_hat=Figures.of(self.x_hat),
            x_from_z=Figures.of(self.x_from_z),
            z=tuple(Figures.of(part) for part in self.z),
            bits_per_dim=Figures.of(self.bits_per_dim),
            zxz=tuple(Figures.of(part) for part in self.zxz),
            non_finite=self.x_hat.non_finite,
        )


def _measure(encoder: Engine, decoder: Engine, reference: Coded, *, n_bits: int) -> _Measured:
    x, y = reference.x, reference.y
    z, log_prob = run_encoder(encoder, x, y)
    x_hat = run_decoder(decoder, z, y)
    again, _ = run_encoder(encoder, x_hat, y)
    with np.errstate(over="ignore"):
        given = [part.astype(np.float32) for part in reference.z]
    x_from_z = run_decoder(decoder, given, y)
    dims = int(np.prod(x.shape[1:]))
    exact = ExactnessAccumulator(n_bits)
    exact.add(x_hat, x, first=0)
    return _Measured(
        n=len(x),
        x_hat=summarize(x_hat, x),
        x_from_z=summarize(x_from_z, reference.x_hat),
        z=tuple(summarize(*pair) for pair in zip(z, reference.z, strict=True)),
        bits_per_dim=summarize(
            *(bits_per_dim(values, dims=dims, n_bits=n_bits) for values in (log_prob, reference.log_prob))
        ),
        zxz=tuple(summarize(*pair) for pair in zip(again, z, strict=True)),
        exact_images=exact.summary().images_exact,
    )


def _judge(measured: _Measured, plan: PrecisionPlan, *, n_bits: int, tolerance: float | None) -> list[str]:
    """Say what is wrong with graphs of a precision, whatever they were meant to compute."""
    problems = []
    decoded = measured.x_from_z
    if not decoded.finite:
        problems.append(f"the {plan.name} decoder gives {decoded.non_finite} non-finite values of {decoded.n}")
    elif decoded.rms >= 1.0 / 8:
        problems.append(f"the {plan.name} decoder's pictures are off by {decoded.rms:.2f} rms: they are other pictures")
    if plan.trunk != "fp32":
        return problems  # for decoding only: nothing is promised about the round trip
    if not measured.x_hat.finite:
        problems.append(f"x -> z -> x gives {measured.x_hat.non_finite} non-finite values of {measured.x_hat.n}")
    elif measured.x_hat.rms >= half_bin(n_bits) / 3.0:
        problems.append(
            f"x -> z -> x: rms error {measured.x_hat.rms:.2e} in {plan.name}, where a third of half a pixel step, "
            f"{half_bin(n_bits) / 3.0:.2e}, is the most that still gives most pixels back; "
            "--precision auto finds the steps that must stay in float32"
        )
    if tolerance is not None and not measured.x_hat.max <= tolerance * 2.0**-n_bits:
        problems.append(
            f"x -> z -> x: largest error {measured.x_hat.max * 2**n_bits:.3g} pixel steps, {tolerance:g} are allowed"
        )
    return problems


def _compare(obtained: _Measured, expected: _Measured) -> list[str]:
    """Hold the graphs against the simulation, in what one pass gives: there small differences stay small."""
    problems = []
    pairs = [(f"z{level}", *pair) for level, pair in enumerate(zip(obtained.z, expected.z, strict=True), start=1)]
    pairs += [
        ("bits/dim", obtained.bits_per_dim, expected.bits_per_dim),
        ("x from z", obtained.x_from_z, expected.x_from_z),
    ]
    for name, got, want in pairs:
        # Of few images one may carry all of the error, in either.
        factor = _LIKE_SIMULATION * (1.0 + 3.0 / math.sqrt(obtained.n))
        if got.finite != want.finite or (got.finite and not got.rms <= factor * want.rms + _floor(want)):
            problems.append(f"{name}: the graphs err by {got.rms:.2e} rms where these roundings explain {want.rms:.2e}")
    return problems


def _floor(summary: ErrorSummary) -> float:
    """A few float32 roundings of the values' own size."""
    return 4 * 2.0**-23 * max(1.0, summary.scale)
