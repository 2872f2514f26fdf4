"""What another program saved, as one more backend: it answers for the golden images alone, and only what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glow_deploy.canary import CanaryResult, CanaryUnavailable, IntegerResult, detect, judge_integers
from glow_deploy.errors import DataError
from glow_deploy.printable import shown
from glow_deploy.verify.report.verification import BackendReport, Failure

if TYPE_CHECKING:
    import numpy as np

    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.offline import SavedOutputs

__all__ = ["SAVED", "blame_digits", "saved_notes", "saved_report"]

SAVED = "outputs"
"""Name of the backend."""


_SIX_DIGITS = "trtexec"
_LISTED = 4  # names in one line
_NOT_SAVED = CanaryUnavailable(reason="the canary's result was not saved; run canary.onnx, and save it as canary.x")
_GARBAGE = 4.0  # times the error of the coarsest format: what is beyond was not computed by the canary's graph


def saved_report(saved: SavedOutputs, bundle: Bundle) -> BackendReport:
    """Describe it like a backend that ran; what it computes in is told by the canary's result.

    Raises:
        DataError: that is no result of the canary.
    """
    canary: CanaryResult | CanaryUnavailable | None = None
    integers: IntegerResult | CanaryUnavailable | None = None
    if saved.exact:
        integers = _NOT_SAVED if saved.canary is None else _judged(saved.canary)
    elif saved.canary is None:
        canary = _NOT_SAVED
    else:
        result = saved.canary
        canary = detect(lambda _: result)
        if canary.detected == "unknown" and canary.error > _GARBAGE * max(canary.expected.values()):
            raise DataError(
                f"{saved.path}: canary.x has an error of {canary.error:.1e}, which no number format makes: feed "
                "canary.z1 to canary.onnx and save its x, or leave it out"
            )
    facts: dict[str, Any] = {
        "provider": f"saved in {saved.path}",
        "device": "elsewhere",
        "precision": bundle.manifest.precision,
        "tf32": None,
        "versions": {},
        "max_batch": None,
    }
    return BackendReport(name=SAVED, encoder=facts, decoder=facts, canary=canary, integers=integers)


def _judged(result: np.ndarray) -> IntegerResult:
    return judge_integers(lambda _: result)


def blame_digits(failures: Sequence[Failure], saved: SavedOutputs | None) -> tuple[Failure, ...]:
    """Name the digits that a text leaves out, before the engine that it came from is suspected."""
    if saved is None or _SIX_DIGITS not in saved.tools:
        return tuple(failures)
    cause = (
        "trtexec (exportOutput) wrote six digits, which alone may miss such a limit: save with dumpRawBindingsToFile "
        "and verify again"
    )
    return tuple(
        replace(failure, cause=cause) if SAVED in failure.where.replace(",", " ").split() else failure
        for failure in failures
    )


def saved_notes(saved: SavedOutputs, report: BackendReport, *, golden: int) -> Iterator[str]:
    """Say what was not saved, and what is not known of what was."""
    if saved.images and saved.images < golden:
        yield (
            f"{SAVED}: only the first {saved.images} of {golden} golden images were saved; their limits allow for the "
            "chance that these are not like the rest"
        )
    if saved.missing:
        yield f"{SAVED}: not saved, so not judged: {'; '.join(saved.missing)}"
    if not saved.vouched:
        yield (
            f"{SAVED}: nothing tells which inputs these belong to: copy index.json, or inputs_sha256 of the .npz file, "
            "from the inputs to them"
        )
    if _SIX_DIGITS in saved.tools:
        yield f"{SAVED}: trtexec (exportOutput) writes six digits, where float32 has more than seven"
    if saved.ignored:
        yield f"{SAVED}: not judged, as no output of the model has such a name: {_names(saved.ignored)}"
    canary = report.canary
    if isinstance(canary, CanaryResult) and canary.detected == "unknown":
        yield f"{SAVED}: the canary does not tell what the program that made them computes in: {canary.reason}"
    elif isinstance(canary, CanaryResult) and not canary.float32:
        yield f"{SAVED}: the program that made them computes float32 convolutions in {canary.text}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(shown(name) for name in names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
