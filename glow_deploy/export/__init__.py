"""From a trained checkpoint to a bundle. Exporting needs torch.

Light to import, because `glow_deploy` itself imports it: what exports is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.settings import settings_of

from .settings import ExportOptions, ExportSettings, Precision

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.progress import StageProgress

__all__ = ["ExportOptions", "ExportSettings", "Precision", "default_bundle_path", "export"]


def default_bundle_path(checkpoint: str | Path) -> Path:
    """Return where a checkpoint's bundle goes if nothing else is said: `<stem>-bundle` in the current folder."""
    return Path(f"{Path(checkpoint).stem}-bundle")


def export(
    checkpoint: str | Path,
    *,
    out: str | Path | None = None,
    settings: ExportSettings | None = None,
    progress: StageProgress | None = None,
    **options: Unpack[ExportOptions],
) -> Bundle:
    """Export a trained Glow as encoder and decoder graphs, with golden vectors and a manifest.

    The graphs are run in ONNX Runtime at batch 1, 2 and 3 and on perturbed images, and compared with the float64 model,
    before anything is written.

    Args:
        checkpoint: a file of `glow_core.save_checkpoint`.
        out: the bundle folder; by default `<checkpoint's stem>-bundle` in the current folder.
        settings: what to export and how; or the same as keyword arguments.
        progress: told the stages.
        **options: fields of `ExportSettings`, such as `precision="mixed"` or `force=True`.

    Returns:
        The bundle written.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UnsoundModelError: the graphs or the model itself do not round-trip; nothing is written unless `force` is on.
        UsageError: the target folder cannot be used.
        DataError: the golden images do not fit the model.
        MissingDependencyError: torch is not installed.
    """
    from .run import run_export

    path = Path(checkpoint)
    target = default_bundle_path(path) if out is None else Path(out)
    return run_export(path, target, settings=settings_of(settings, options, ExportSettings), progress=progress)
