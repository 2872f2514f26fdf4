"""Measuring whether a bundle is still an invertible flow: the backend matrix, its gates and its report.

Light to import, because `glow_deploy` itself imports it: what measures is loaded when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.settings import settings_of

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.data import LeftOut
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
    on_left_out: Callable[[Sequence[LeftOut]], None] | None = None,
    **options: Unpack[VerifyOptions],
) -> VerifyReport:
    """Measure whether a bundle is still an invertible flow with the right likelihood, on every pair of backends.

    The golden vectors of the bundle, and with `data` fresh images, are encoded on A and decoded on B for all A and B.
    Latents and bits/dim are compared with the trained model in float64. Nothing is written.

    Args:
        bundle: opened, or its folder.
        settings: a `VerifySettings`; or the same as keyword arguments.
        progress: for a progress bar.
        on_left_out: told which pictures of `data` could not be read; only with `skip_unreadable` are there any.
        **options: see below.

    Options:
        backends=None: names of backends, or one; None for every one that is usable here. `triton=HOST:PORT` is a
            server of the Open Inference Protocol that runs this bundle.
        ckpt=None: the checkpoint that the bundle was exported from. It adds the PyTorch backends and the float64
            reference on `data`.
        data=None: fresh images: a folder, an .npz file, `faces`, ...
        outputs=None: what another program made of the golden images, an .npz file or a folder, judged like a backend.
        rename=(): `THEIRS=OURS` where that program names its outputs otherwise.
        limit=None: at most this many images of `data`.
        batch=32: images at a time.
        largest_batch=None: batch sizes are tried up to here; None is the largest that an engine takes, or 64.
        device="auto": `auto`, `cpu` (leaves GPU backends out), `cuda` or `cuda:N`.
        resize=False: fit pictures of another size or mode instead of refusing them.
        skip_unreadable=False: leave out pictures of `data` that cannot be read.
        reading=None: what the files of `data` do not say about their values, a `Reading`.
        threads=None: CPU threads for ONNX Runtime; None leaves the choice to it.
        trust_engine=False: run plans without a matching sidecar; a plan is executable code.
        timeout=60.0: seconds that a server may take for one answer, where backends names one.
        temperatures=(0.7, 1.0): of latents drawn at random, which are reported and not gated.
        random_draws=64: draws at each temperature; 0 leaves them out.
        seed=0: of the draws.
        steps=False: measure the error after every step of flow, and the error budget.
        steps_images=16: on so many images.
        stress=False: look for where the model stops being invertible.
        baseline=None: a JSON report of an earlier run to compare with.
        baseline_factor=1.5: what a figure may grow to, as a multiple of the baseline's.
        require_signature=False: refuse a bundle that is not signed by whom one of the next options names.
        public_key=None: the holder of this key, a PEM file.
        certificate_root=None: a holder of a certificate below this one.
        identity=None: this Sigstore identity.
        issuer=None: who vouched for the identity.

    Returns:
        The report; `report.sound` is the verdict. An unsound model is a result, not an exception.

    Raises:
        UsageError: no images, nothing to compare latents and likelihoods with, or an option that is unknown, of the
            wrong kind or out of range.
        MissingDependencyError: a backend asked for is not usable here.
        EngineError: a backend failed while running.
        BundleError: the bundle is damaged.
        DataError: the images cannot be read or do not fit.
    """
    from .run import run_verify
    from .settings import VerifySettings

    chosen = settings_of(settings, options, VerifySettings, caller="verify", others=("progress", "on_left_out"))
    return run_verify(bundle, settings=chosen, progress=progress, on_left_out=on_left_out)


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
