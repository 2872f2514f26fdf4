"""Measuring whether a bundle is still an invertible flow: the backend matrix, its gates and its report.

Light to import, because `glow_deploy` itself imports it: what measures is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.settings import settings_of

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.progress import StageProgress
    from glow_deploy.verify.backends.backend import BACKENDS
    from glow_deploy.verify.html.page import check_report_target, write_html
    from glow_deploy.verify.report.verification import VerifyReport

    from .settings import VerifyOptions, VerifySettings
    from .terminal import report_tables

__all__ = [
    "BACKENDS",
    "VerifyReport",
    "VerifySettings",
    "check_report_target",
    "report_tables",
    "verify",
    "write_html",
]


def verify(
    bundle: Bundle | str | Path,
    *,
    settings: VerifySettings | None = None,
    progress: StageProgress | None = None,
    **options: Unpack[VerifyOptions],
) -> VerifyReport:
    """Measure whether a bundle is still an invertible flow with the right likelihood, on every pair of backends.

    The golden vectors of the bundle, and with `settings.data` fresh images, are encoded on A and decoded on B for all
    A and B. Latents and bits/dim are compared with the trained model in float64. Nothing is written.

    Args:
        bundle: opened, or its folder.
        settings: see `VerifySettings`; or the same as keyword arguments.
        progress: for a progress bar.
        **options: fields of `VerifySettings`, such as `ckpt="ckpt.pt"`, `data="faces"` or `backends=["tensorrt"]`.

    Returns:
        The report; `report.sound` is the verdict. An unsound model is a result, not an exception.

    Raises:
        UsageError: no images, or nothing to compare latents and likelihoods with.
        MissingDependencyError: a backend asked for is not usable here.
        EngineError: a backend failed while running.
        BundleError: the bundle is damaged.
        DataError: the images cannot be read or do not fit.
    """
    from .run import run_verify
    from .settings import VerifySettings

    chosen = settings_of(settings, options, VerifySettings)
    return run_verify(bundle, settings=chosen, progress=progress)


def __getattr__(name: str) -> object:
    match name:
        case "BACKENDS":
            from glow_deploy.verify.backends.backend import BACKENDS

            return BACKENDS
        case "VerifyReport":
            from glow_deploy.verify.report.verification import VerifyReport

            return VerifyReport
        case "VerifySettings":
            from .settings import VerifySettings

            return VerifySettings
        case "check_report_target" | "write_html":
            from .html import page

            return getattr(page, name)
        case "report_tables":
            from .terminal import report_tables

            return report_tables
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])
