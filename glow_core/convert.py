"""Writing any readable checkpoint as a native one."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import Checkpoint, save_checkpoint
from .errors import CheckpointError

__all__ = ["convert_checkpoint", "default_path"]


def default_path(source: str | Path) -> Path:
    """Return where the native form of a checkpoint goes if nothing else is said: `<stem>-glow.pt` in this folder."""
    return Path(f"{Path(source).stem}-glow.pt")


def convert_checkpoint(checkpoint: Checkpoint, path: str | Path, *, force: bool = False) -> None:
    """Write a checkpoint in this tool's own format, whole or not at all.

    Weights, averaged weights, validation images, labels and origin go along; a training state does not, since the
    optimiser of another project, or of a run that is not to be resumed, has no meaning for a new one.

    Args:
        checkpoint: as `read_checkpoint` gives it.
        path: `*.safetensors` for the weights alone (the averaged ones where there are any); any other name for all.
        force: replace a file that is there already.

    Raises:
        CheckpointError: the file is there already, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not force:
        raise CheckpointError(f"{path} is there already: give force=True to replace it, or another name with out=")
    save_checkpoint(
        checkpoint.glow(weights="raw"),
        path,
        ema=checkpoint.ema,
        images=checkpoint.images,
        labels=checkpoint.labels,
        origin=checkpoint.origin,
    )
