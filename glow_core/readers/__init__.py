"""Reading checkpoints: this tool's own, and those of other projects' Glows, told apart by their content.

One file a project. To add one, write a `Reader` and name it in `READERS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint import (
    Checkpoint,
    Weights,
    check_content,
    is_native,
    looks_like_safetensors,
    read_safetensors,
)
from ..errors import CheckpointError
from ..model import Glow
from ..state import key_name, load_pt
from .file import read_npz, state_of
from .native import to_checkpoint
from .options import ImportOptions, InputRange, ScaleMap
from .reader import Reader, Tensors
from .rosinality import READER as ROSINALITY

__all__ = ["READERS", "ImportOptions", "InputRange", "Reader", "ScaleMap", "load_checkpoint", "read_checkpoint"]

READERS: tuple[Reader, ...] = (
    ROSINALITY,
)


def load_checkpoint(path: str | Path, *, weights: Weights = "ema", options: ImportOptions | None = None) -> Glow:
    """Read the model of a checkpoint: float32, on the CPU, in evaluation mode.

    Args:
        path: of this tool or of another project.
        weights: `ema` takes the averaged weights where there are any, `raw` the weights as trained.
        options: what another project's file does not say.

    Raises:
        CheckpointError: see `read_checkpoint`.
    """
    return read_checkpoint(path, options=options).glow(weights=weights)


def read_checkpoint(path: str | Path, *, options: ImportOptions | None = None, mmap: bool = False) -> Checkpoint:
    """Read and check everything a checkpoint holds.

    Args:
        path: written by `save_checkpoint`, or by one of the projects of `READERS`; recognised by its content.
        options: what another project's file does not say. Has no meaning for this tool's own.
        mmap: leave the tensors in the file and read them as they are used, which saves a copy of a large model. The
            file must then stay as it is; replacing it by a rename is safe.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or its tensors are not those of the model it
            describes (keys, shapes, dtypes, finite values, permutations that are some); another project's file does
            not hold what `options` does not tell either, or a model that cannot be expressed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if looks_like_safetensors(path):
        return _own(path, read_safetensors(path), options)
    if _is_npz(path):
        return _foreign(path, read_npz(path), options)
    content: Any = load_pt(path, mmap=mmap)
    if is_native(content):
        return _own(path, check_content(path, content), options)
    return _foreign(path, state_of(content, path=path), options)


def _own(path: Path, checkpoint: Checkpoint, options: ImportOptions | None) -> Checkpoint:
    given = {} if options is None else options.to_dict()
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise CheckpointError(f"{path}: this checkpoint says all about its model; leave {names} away")
    return checkpoint


def _foreign(path: Path, state: dict[str, Any], options: ImportOptions | None) -> Checkpoint:
    reader = next((reader for reader in READERS if reader.recognise(state)), None)
    if reader is None:
        some = ", ".join(key_name(name) for name in list(state)[:3])
        known = ", ".join(reader.project for reader in READERS)
        raise CheckpointError(
            f"{path}: a model, but of no layout known here (its tensors: {some}, ...); read are checkpoints of this "
            f"tool and of {known}"
        )
    options = options or ImportOptions()
    tensors = Tensors(state, path=str(path))
    glow = reader.read(tensors, options)
    tensors.finish()
    return to_checkpoint(glow, path=path, project=reader.project, options=options)


def _is_npz(path: Path) -> bool:
    """Tell an .npz from a torch file, both zip archives, by the names of their members."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
