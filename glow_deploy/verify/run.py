"""`verify`: one bundle, every usable backend, a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.signature import EXACT
from glow_deploy.data import LeftOut
from glow_deploy.errors import UsageError
from glow_deploy.numerics.gates import Rules, VerdictName, rules_for
from glow_deploy.progress import StageProgress
from glow_deploy.signing import check_signature
from glow_deploy.verify.backends.arithmetic import (
    arithmetic_notes,
    integer_failures,
    integer_reasons,
    reduced_arithmetic,
    with_canaries,
)
from glow_deploy.verify.backends.backend import open_backends
from glow_deploy.verify.backends.saved import blame_digits, saved_notes, saved_report
from glow_deploy.verify.matrix.causes import explain
from glow_deploy.verify.matrix.integers import compare_integers, exact_failures
from glow_deploy.verify.matrix.precision import read_precision
from glow_deploy.verify.matrix.saved_integers import compare_saved
from glow_deploy.verify.report.rows import ReferenceReport
from glow_deploy.verify.report.verification import Failure, Verdict, Verdicts, VerifyReport

from .environment import environment
from .measured import Measured
from .sections import (
    measure_budget_of,
    measure_steps_of,
    measure_stress_of,
    section_notes,
    steps_backends,
    stress_failures,
    weight_failures,
)
from .settings import VerifySettings
from .sources import image_sources, left_out_notes
from .suggest import suggest
from .weights import check_weights

if TYPE_CHECKING:
    import numpy as np

    from glow_deploy.offline import SavedOutputs
    from glow_deploy.verify.report.weights import WeightsReport

    from .regression import Baseline

__all__ = ["run_verify"]


_FEW_IMAGES = 64  # for what is measured beside the matrix


def run_verify(
    bundle: Bundle | str | Path,
    *,
    settings: VerifySettings | None = None,
    progress: StageProgress | None = None,
    on_left_out: Callable[[Sequence[LeftOut]], None] | None = None,
) -> VerifyReport:
    """Do what `glow_deploy.verify` says."""
    settings = settings or VerifySettings()
    trust = settings.trust
    if isinstance(bundle, Bundle):
        if trust is None:
            return _verify(bundle, settings=settings, progress=progress, on_left_out=on_left_out)
        bundle = bundle.path  # it was opened before anybody asked whether it is signed
    # Everything that is read of the bundle from here on is held to what was signed.
    signed = None if trust is None else check_signature(bundle, trust).signed
    measured = partial(_verify, settings=settings, progress=progress, on_left_out=on_left_out)
    return while_unchanged(bundle, measured, signed=signed)


def _verify(
    bundle: Bundle,
    *,
    settings: VerifySettings,
    progress: StageProgress | None,
    on_left_out: Callable[[Sequence[LeftOut]], None] | None,
) -> VerifyReport:
    started, date = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    baseline = None if settings.baseline is None else _read_baseline(settings.baseline, bundle)
    rules = rules_for(bundle.manifest.precision)
    precision = read_precision(bundle)
    if settings.steps:
        steps_backends(settings)
    is_exact = bundle.manifest.precision == EXACT
    if is_exact:
        _refuse_for_exact(settings)
    saved = _read_saved(bundle, settings)
    sources = image_sources(bundle, settings, progress)
    if on_left_out is not None:
        on_left_out([left for source in sources for left in source.left_out])
    with ExitStack() as stack:
        try:
            backends = open_backends(
                bundle,
                stack=stack,
                wanted=settings.backends,
                ckpt=settings.ckpt,
                device=settings.device,
                threads=settings.threads,
                trust_engine=settings.trust_engine,
                timeout=settings.timeout,
            )
        finally:
            bundle.check_unchanged()  # manifest, images and engines are of one export, or what is wrong tells nothing
        reports = with_canaries(backends.reports, bundle, device=settings.device, timeout=settings.timeout)
        if saved is not None:
            reports = (*reports, saved_report(saved, bundle))
        run = Measured(bundle, settings, backends, rules, precision, saved, progress)
        for source in sources:
            run.measure(source)
        run.measure_batches(sources[0])
        run.measure_random()
        exact = None
        if is_exact:
            exact = compare_integers(backends.matrix, sources, _golden_integers(bundle), batch=settings.batch)
            golden = bundle.golden()
            if saved is not None and golden is not None:
                exact = replace(exact, rows=(*exact.rows, *compare_saved(saved, golden, backends.matrix)))
        first = next(sources[0].batches(_FEW_IMAGES))
        stress = None
        if settings.stress:
            stress = measure_stress_of(bundle, backends.matrix, first, settings, progress=progress)
    # With the engines closed: these open their own.
    plan = None if precision is None else precision.plan
    steps = measure_steps_of(bundle, first, settings, plan=plan, progress=progress) if settings.steps else None
    budget = measure_budget_of(bundle, first, settings, progress=progress) if settings.steps else None
    weights = check_weights(
        bundle,
        plan=plan,
        ckpt=settings.ckpt,
        plans=tuple(backend.name for backend in reports if backend.used and backend.name.startswith("tensorrt")),
    )
    failures = (
        *weight_failures(weights, steps),
        *(() if exact is None else exact_failures(exact, integer_reasons(reports))),
        *integer_failures(reports),
        *blame_digits(
            explain(run.references, run.cells, run.batches, images=run.image_sets, reduced=reduced_arithmetic(reports)),
            saved,
        ),
        *stress_failures(stress, exact=is_exact),
    )
    report = VerifyReport(
        bundle=_describe(bundle),
        n_bits=bundle.manifest.n_bits,
        command=settings.command(bundle.path),
        environment=environment(),
        backends=reports,
        image_sets=tuple(run.image_sets),
        references=tuple(run.references),
        cells=tuple(run.cells),
        batches=tuple(run.batches),
        weights=weights,
        random=run.random,
        failures=failures,
        verdicts=_verdicts(failures, run.references, rules, weights, saved),
        notes=(
            *(
                ()
                if bundle.signed is None
                else (f"signature valid: every file is as {bundle.signed.signer} signed it",)
            ),
            *(note for source in sources for note in source.notes),
            *(note for source in sources for note in left_out_notes(source)),
            *(() if exact is None else (exact.line,)),
            *run.notes,
            *(() if saved is None else saved_notes(saved, reports[-1], golden=len(sources[0]))),
            *arithmetic_notes(reports, precision=bundle.manifest.precision),
            *section_notes(steps, stress),
        ),
        suggestions=tuple(suggest(bundle.manifest, run.image_sets, run.cells, run.random, budget=budget)),
        date=date,
        seconds=time.monotonic() - started,
        steps=steps,
        budget=budget,
        stress=stress,
        exact=exact,
        outputs=None if saved is None else saved.images,
    )
    if baseline is None:
        return report
    from .regression import compare

    return replace(report, baseline=compare(report, baseline, factor=settings.baseline_factor))


_NOT_FOR_EXACT = {
    "ckpt": "their graphs hold integers that were rounded to fit each other, not the weights of the checkpoint, and "
    "what that costs was measured at export",
    "steps": "no step of theirs has an error, so there is none to follow",
}


def _refuse_for_exact(settings: VerifySettings) -> None:
    """Say what cannot be measured of graphs that hold integers instead of the trained weights.

    Raises:
        UsageError: it was asked for.
    """
    for name, why in _NOT_FOR_EXACT.items():
        if getattr(settings, name):
            raise UsageError(
                f"exact bundles are not verified with {name}=: {why}; without it they are compared for equality"
            )


def _read_saved(bundle: Bundle, settings: VerifySettings) -> SavedOutputs | None:
    """Read what another program saved, before anything is run."""
    if settings.outputs is None:
        return None
    from glow_deploy.offline import read_outputs

    return read_outputs(bundle, settings.outputs, rename=settings.rename)


def _read_baseline(path: Path, bundle: Bundle) -> Baseline:
    """Read it, and refuse one of another model, before minutes of work are spent."""
    from .regression import Identity, read_baseline

    baseline = read_baseline(path)
    baseline.require(Identity.of(bundle.manifest))
    return baseline


def _verdicts(
    failures: Sequence[Failure],
    references: Sequence[ReferenceReport],
    rules: Rules,
    weights: WeightsReport,
    saved: SavedOutputs | None,
) -> Verdicts:
    failed = {failure.verdict for failure in failures}
    assert references, "a likelihood without a reference cannot be judged"

    def verdict(name: VerdictName, *, reported: bool) -> Verdict:
        if name in failed:
            return "unsound"
        if saved is not None and not saved.told[name]:
            return "not compared"  # another program is asked about, and did not say
        return "reported" if reported else "sound"

    return Verdicts(
        round_trip=verdict("round_trip", reported=rules.decode_only),
        likelihood=verdict("likelihood", reported=rules.decode_only),
        samples=verdict("samples", reported=False),
        weights=weights.verdict,
    )


def _golden_integers(bundle: Bundle) -> tuple[np.ndarray, ...] | None:
    golden = bundle.golden()
    return None if golden is None else golden.integers


def _describe(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    return {
        "path": str(bundle.path),
        "model": dict(manifest.model),
        "model_id": manifest.model_id,
        "weights": manifest.weights,
        "precision": manifest.precision,
        "golden_source": manifest.golden_source,
        "signed_by": None if bundle.signed is None else bundle.signed.signer,
        "files": dict(manifest.files),
        "made_with": dict(manifest.versions),
    }
