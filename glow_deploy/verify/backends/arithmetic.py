"""What the backends of a matrix really compute float32 convolutions in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.flavors import BACKEND_FLAVORS, OPENVINO, engine_files
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary import canary_for, canary_on_server, detect, make_canary
from glow_deploy.canary.report import CanaryResult, CanaryUnavailable
from glow_deploy.kserve.address import is_remote
from glow_deploy.verify.report.verification import BackendReport

from .backend import REFERENCE, SIMULATED, YARDSTICK
from .saved import SAVED

__all__ = ["arithmetic_notes", "reduced_arithmetic", "with_canaries"]


def with_canaries(
    reports: tuple[BackendReport, ...], bundle: Bundle, *, device: str, timeout: float = 60.0
) -> tuple[BackendReport, ...]:
    """Run the canary on every backend used; a server has `timeout` seconds for it."""
    return tuple(
        replace(report, canary=_canary(report.name, bundle, device=device, timeout=timeout)) if report.used else report
        for report in reports
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


def _canary(name: str, bundle: Bundle, *, device: str, timeout: float) -> CanaryResult | CanaryUnavailable | None:
    if name in (REFERENCE, SIMULATED):
        return None  # float64, and what the graphs say
    if name == YARDSTICK:
        from glow_deploy.engines.pytorch import run_convolutions

        weights = list(make_canary().weights.values())
        return detect(lambda x: run_convolutions(x, weights))
    if is_remote(name):
        return canary_on_server(name, timeout=timeout)
    flavor = BACKEND_FLAVORS.get(name)
    plan = None if flavor is None else bundle.path / engine_files(flavor)[1]
    return canary_for(name, device=device, plan=plan)
