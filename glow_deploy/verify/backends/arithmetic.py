"""What the backends of a matrix really compute float32 convolutions in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.flavors import BACKEND_FLAVORS, OPENVINO, engine_files
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary import canary_for, canary_on_server, detect, integers_for, integers_on_server, make_canary
from glow_deploy.canary.integer_verdict import IntegerResult
from glow_deploy.canary.integers import PROBES
from glow_deploy.canary.report import CanaryResult, CanaryUnavailable
from glow_deploy.kserve.address import is_remote
from glow_deploy.numerics.gates import GateResult
from glow_deploy.verify.report.verification import BackendReport, Failure

from .backend import REFERENCE, SIMULATED, YARDSTICK
from .saved import SAVED

__all__ = ["arithmetic_notes", "integer_failures", "integer_reasons", "reduced_arithmetic", "with_canaries"]


def with_canaries(
    reports: tuple[BackendReport, ...], bundle: Bundle, *, device: str, timeout: float = 60.0
) -> tuple[BackendReport, ...]:
    """Run the canary on every backend used, of integers too for an exact bundle; a server has `timeout` seconds."""
    exact = bundle.manifest.precision == EXACT
    return tuple(
        replace(
            report,
            canary=_canary(report.name, bundle, device=device, timeout=timeout),
            integers=_integers(report.name, bundle, device=device, timeout=timeout) if exact else None,
        )
        if report.used
        else report
        for report in reports
    )


def integer_reasons(reports: tuple[BackendReport, ...]) -> dict[str, str]:
    """Why integers are not exact on a backend, by its name, where the canary of integers found that they are not."""
    return {
        report.name: report.integers.reason
        for report in reports
        if isinstance(report.integers, IntegerResult) and not report.integers.sound
    }


def integer_failures(reports: tuple[BackendReport, ...]) -> Iterator[Failure]:
    """Judge the backends whose arithmetic the proof of exact graphs does not cover, whatever the images say."""
    for report in reports:
        found = report.integers
        if not isinstance(found, IntegerResult) or found.sound:
            continue
        gate = GateResult(
            quantity="differing integers of the canary",
            statistic="count",
            level=None,
            value=float(sum(found.differing.values())),
            limit=0.0,
            passed=False,
            derivation="integers are equal or they are not",
            verdict="round_trip",
        )
        yield Failure(
            verdict="round_trip", where=report.name, images="canary", level=None, gate=gate, cause=found.reason
        )


def reduced_arithmetic(reports: tuple[BackendReport, ...]) -> dict[str, str]:
    """What the backends whose canary is known not to be float32 compute in, in words, by the backend's name."""
    found = {}
    for report in reports:
        canary = report.canary
        if isinstance(canary, CanaryResult) and canary.detected not in ("fp32", "unknown"):
            found[report.name] = canary.text.replace("!", "")
    return found


def arithmetic_notes(reports: tuple[BackendReport, ...], *, precision: str) -> Iterator[str]:
    """Say where float32 was asked for and something else, or nothing, was found; and where 16 bit was, and is not."""
    narrow = precision not in ("fp32", EXACT)
    if narrow and any(report.used and report.name == "onnxruntime-cpu" for report in reports):
        yield (
            "onnxruntime-cpu computes 16-bit convolutions in float32: its errors are not those of a GPU; the backend "
            f"{SIMULATED} rounds as one would"
        )
    for report in reports:
        if narrow and report.name in OPENVINO and _all_in_float32(report):
            yield (
                f"{report.name} computes these graphs' 16-bit convolutions in float32, as OpenVINO itself tells: its "
                "errors are not those of a GPU"
            )
        if isinstance(report.integers, CanaryUnavailable):
            yield f"{report.name}: whether it convolves integers exactly was not measured: {report.integers.reason}"
        elif report.integers is not None:
            each = ", ".join(PROBES)
            words = (
                f"exactly ({each})" if report.integers.arithmetic == "exact" else f"not exactly: {report.integers.text}"
            )
            yield f"{report.name}: convolves integers {words}"
        canary = report.canary
        if report.name == SAVED and isinstance(canary, CanaryResult):
            continue  # told with what else is known of it
        if isinstance(canary, CanaryUnavailable):
            yield f"{report.name}: what it computes in was not measured: {canary.reason}"
        elif isinstance(canary, CanaryResult) and not canary.float32:
            if report.name.endswith("-default"):
                found = canary.text.replace("!", "")
                yield (
                    f"{report.name}: float32 convolutions compute in {found}, which is what OpenVINO does when it is "
                    f"not asked for f32; {report.name.removesuffix('-default')} asks"
                )
                continue
            asked = "allowed" if report.decoder is not None and report.decoder["tf32"] else "turned off"
            yield f"{report.name}: its convolutions compute in {canary.text}, TF32 is {asked}"


def _all_in_float32(report: BackendReport) -> bool:
    from glow_deploy.engines.openvino import CONVOLUTIONS_IN

    return report.decoder is not None and str(report.decoder["provider"]).endswith(f"{CONVOLUTIONS_IN} f32")


def _integers(name: str, bundle: Bundle, *, device: str, timeout: float) -> IntegerResult | CanaryUnavailable | None:
    if name in (REFERENCE, SIMULATED, YARDSTICK):
        return None  # they have no graph of integers
    if is_remote(name):
        return integers_on_server(name, timeout=timeout)
    return integers_for(name, device=device, plan=_plan(name, bundle))


def _plan(name: str, bundle: Bundle) -> Path | None:
    flavor = BACKEND_FLAVORS.get(name)
    return None if flavor is None else bundle.path / engine_files(flavor)[1]


def _canary(name: str, bundle: Bundle, *, device: str, timeout: float) -> CanaryResult | CanaryUnavailable | None:
    if name in (REFERENCE, SIMULATED):
        return None  # float64, and what the graphs say
    if name == YARDSTICK:
        from glow_deploy.engines.pytorch import run_convolutions

        weights = list(make_canary().weights.values())
        return detect(lambda x: run_convolutions(x, weights))
    if is_remote(name):
        return canary_on_server(name, timeout=timeout)
    return canary_for(name, device=device, plan=_plan(name, bundle))
