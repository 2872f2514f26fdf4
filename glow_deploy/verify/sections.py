"""The parts of a verification that are measured only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import UsageError
from glow_deploy.numerics.gates import GateResult, VerdictName
from glow_deploy.progress import StageProgress
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.matrix.images import ImageBatch
from glow_deploy.verify.report.verification import Failure

from .settings import VerifySettings

if TYPE_CHECKING:
    from glow_deploy.budget.report import BudgetReport
    from glow_deploy.graphs.precision_plan import PrecisionPlan
    from glow_deploy.verify.report.steps import StepsReport
    from glow_deploy.verify.report.stress import StressReport
    from glow_deploy.verify.report.weights import WeightsReport

__all__ = [
    "measure_budget_of",
    "measure_steps_of",
    "measure_stress_of",
    "section_notes",
    "steps_backends",
    "stress_failures",
    "weight_failures",
]


_MOST_PARTS = 5  # shown one by one


def steps_backends(settings: VerifySettings) -> tuple[str, ...] | None:
    """Those of the backends asked for that can show their steps; None for every one that is usable.

    Raises:
        UsageError: none of those asked for can.
    """
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.verify.steps.probes import PROBES

    if settings.backends is None:
        return None
    wanted = tuple(name for name in settings.backends if name in PROBES or graph_backend(name) != "auto")
    if not wanted:
        raise UsageError(f"none of the backends named can show its steps: add {' or '.join(PROBES)} to backends=")
    return wanted


def measure_steps_of(
    bundle: Bundle,
    images: ImageBatch,
    settings: VerifySettings,
    *,
    plan: PrecisionPlan | None,
    progress: StageProgress | None,
) -> StepsReport:
    """Measure the error after every step of flow on the backends that can show it.

    With a checkpoint the trained model's own folded weights tell which of the two graphs is wrong.
    """
    from .steps import StepsSettings, measure_steps

    wanted = steps_backends(settings)
    trained = None
    if settings.ckpt is not None:
        from glow_deploy.engines.pytorch import folded_arrays
        from glow_deploy.engines.trained import Trained

        trained = folded_arrays(Trained.of(bundle, settings.ckpt))
    return measure_steps(
        bundle,
        settings=StepsSettings(images=settings.steps_images, backends=wanted, device=settings.device),
        x=images.x,
        y=images.y,
        plan=plan,
        trained=trained,
        progress=progress,
    )


def measure_budget_of(
    bundle: Bundle, images: ImageBatch, settings: VerifySettings, *, progress: StageProgress | None
) -> BudgetReport:
    """Measure how errors made at every step grow on the way to the picture."""
    from glow_deploy.artifact.manifest import DECODER, ENCODER
    from glow_deploy.budget import measure_budget

    encoder, decoder = (bundle.graph(name) for name in (ENCODER, DECODER))
    return measure_budget(encoder, decoder, images.x, images.y, seed=settings.seed, progress=progress)


def measure_stress_of(
    bundle: Bundle,
    backends: Sequence[Backend],
    images: ImageBatch,
    settings: VerifySettings,
    *,
    progress: StageProgress | None,
) -> StressReport:
    """Look for where the model stops being invertible."""
    from .stress import Origin, StressSettings, measure_stress

    manifest = bundle.manifest
    exact = manifest.precision == EXACT
    tried = StressSettings(batch=settings.batch, seed=settings.seed)
    if exact:
        tried = replace(tried, attack_images=0)  # an attack follows the checkpoint's gradient, and rounding has none
    return measure_stress(
        backends,
        x=images.x,
        y=images.y,
        n_bits=manifest.n_bits,
        # Of exact graphs an image that is not in range has no numbers: that is told, and nothing is lost.
        bounded=not exact and (manifest.model["coupling"] == "additive" or bool(manifest.model["bounded_scale"])),
        settings=tried,
        origin=Origin(
            bundle=bundle.path,
            ckpt=settings.ckpt,
            device=settings.device,
            threads=settings.threads,
            trust_engine=settings.trust_engine,
            signed=bundle.signed,
        ),
        progress=progress,
    )


def weight_failures(weights: WeightsReport, steps: StepsReport | None) -> Iterator[Failure]:
    """The parts of the graphs whose weights are wrong; what comes after the first few is counted.

    Args:
        weights: what was compared without running a graph.
        steps: of the error after every step, where it was asked for: a fault that is in it alone.
    """
    findings = weights.findings
    for index, finding in enumerate(findings[:_MOST_PARTS]):
        left = len(findings) - _MOST_PARTS if index == _MOST_PARTS - 1 else 0
        more = f"; so are {left} more parts" if left > 0 else ""
        quantity = "weights that are wrong" if finding.part else "graphs of another structure"
        yield Failure(
            verdict="weights",
            where=finding.where,
            images="",
            level=finding.level,
            gate=_gate(quantity, "count", finding.arrays, verdict="weights"),
            cause=f"{finding.detail}{more}; {finding.advice}",
        )
    parts = {finding.part for finding in findings}
    for fault in [] if steps is None else [fault for fault in steps.weights if fault.step not in parts][:1]:
        yield Failure(
            verdict="weights",
            where=f"encoder.onnx and decoder.onnx, {fault.step}",
            images="",
            level=_level(fault.step),
            gate=_gate("weights that differ between the graphs", "count", 1, verdict="weights"),
            cause=fault.detail,
        )


def stress_failures(stress: StressReport | None, *, exact: bool = False) -> Iterator[Failure]:
    """What makes the round trip unsound although no image of the matrix shows it.

    Args:
        stress: None where it was not asked for.
        exact: of an exact bundle: whatever comes back must be what was encoded.
    """
    for row in () if stress is None or not exact else stress.inputs:
        if row.max > 0:  # of what is in range; all else is NaN, and counted
            yield Failure(
                verdict="round_trip",
                where=f"{row.backend}, stress input {row.name}",
                images="",
                level=None,
                gate=_gate(f"pixels of {row.n} images", "max", row.max),
                cause="an image in range does not come back: a weight was changed, or the backend is not exact",
            )
    for failure in () if stress is None else stress.failures:
        yield Failure(
            verdict="round_trip",
            where=f"{failure.backend}, stress input {failure.input}",
            images="",
            level=None,
            gate=_gate(f"{failure.stage} of {failure.n} images", "non-finite", failure.non_finite),
            cause=failure.cause,
        )


def section_notes(steps: StepsReport | None, stress: StressReport | None) -> Iterator[str]:
    """Which step an error begins at, and what was left out."""
    for backend in () if steps is None else steps.backends:
        if backend.first_jump is not None:
            yield f"{backend.backend}: {backend.first_jump}"
    yield from () if stress is None else stress.notes


def _gate(quantity: str, statistic: str, value: float, *, verdict: VerdictName = "round_trip") -> GateResult:
    return GateResult(
        quantity=quantity,
        statistic=statistic,
        level=None,
        value=float(value),
        limit=0.0,
        passed=False,
        derivation="none may be",
        verdict=verdict,
    )


def _level(step: str) -> int | None:
    number = step.partition("/")[0].removeprefix("level")
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= 9 else None
