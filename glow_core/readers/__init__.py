"""Reading checkpoints: this tool's own, and those of other projects' Glows, told apart by their content.

One file a project. To add one, write a `Reader` and name it in `READERS`; a package of your own registers its reader as
an entry point instead (`installed.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glow_core.archive import zip_members
from glow_core.checkpoint import (
    Checkpoint,
    check_content,
    check_safetensors,
    is_native,
    load_safetensors,
    looks_like_safetensors,
)
from glow_core.config import Weights
from glow_core.errors import CheckpointError
from glow_core.import_options import ImportOptions
from glow_core.model import Glow
from glow_core.state import key_name, load_pt

from .chaiyujin import READER as CHAIYUJIN
from .corenel import READER as CORENEL
from .file import read_npz, state_of
from .installed import installed_readers
from .kinds import refuse_other_kinds
from .native import to_checkpoint
from .nearest import nearest_layout
from .normflows import READER as NORMFLOWS
from .openai import READER as OPENAI
from .reader import Reader, Tensors
from .rosinality import READER as ROSINALITY
from .unfit import why_unfit
from .y0ast import READER as Y0AST

__all__ = ["READERS", "Reader", "load_checkpoint", "read_checkpoint", "read_tensors", "reader_of"]

_PAGE = "https://github.com/glow-deploy/glow-deploy/blob/main/docs/bring-your-own-glow.md"
_MAX_PREFIXES = 4  # a model in a module in a module

READERS: tuple[Reader, ...] = (
    ROSINALITY,
    CHAIYUJIN,
    CORENEL,
    Y0AST,
    NORMFLOWS,
    OPENAI,
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
        options: what another project's file does not say. This tool's own says all; a different value is refused.
        mmap: leave the tensors in the file and read them as they are used, which saves a copy of a large model. The
            file must then stay as it is; replacing it by a rename is safe.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or its tensors are not those of the model it
            describes (keys, shapes, dtypes, finite values, permutations that are some); another project's file does
            not hold what `options` does not tell either, or a model that cannot be expressed.
    """
    path = Path(path)
    refuse_other_kinds(path)
    with torch.device("cpu"):  # whatever the caller's default device is
        return _read(path, options, mmap=mmap)


def _read(path: Path, options: ImportOptions | None, *, mmap: bool) -> Checkpoint:
    if looks_like_safetensors(path):
        header, state = load_safetensors(path)
        if is_native(header):
            return _own(path, check_safetensors(path, header, state), options)
        return _foreign(path, state_of(state, path=path), options)
    if _is_npz(path):
        return _foreign(path, read_npz(path), options)
    content: Any = load_pt(path, mmap=mmap)
    if is_native(content):
        return _own(path, check_content(path, content), options)
    return _foreign(path, state_of(content, path=path), options)


def read_tensors(path: str | Path) -> Mapping[str, Tensor]:
    """Read the tensors of another project's checkpoint, as they are, by the names that its reader knows.

    Raises:
        CheckpointError: not such a file, or damaged.
    """
    path = Path(path)
    with torch.device("cpu"):
        if looks_like_safetensors(path):
            state = state_of(load_safetensors(path)[1], path=path)
        else:
            state = read_npz(path) if _is_npz(path) else state_of(load_pt(path, mmap=False), path=path)
    prefix = _common_prefix(state)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def reader_of(names: Iterable[str]) -> Reader | None:
    """Find the reader of a layout by its tensors' names; None for one that is not known.

    Raises:
        CheckpointError: two readers of other packages take it for theirs, or one of them failed.
    """
    known = tuple(names)
    own = next((reader for reader in READERS if reader.recognise(known)), None)
    if own is not None:
        return own
    foreign = [reader for reader in installed_readers(READERS).readers if reader.recognise(known)]
    if len(foreign) > 1:
        projects = " and ".join(reader.project for reader in foreign)
        raise CheckpointError(f"two installed readers take this file for theirs, of {projects}: uninstall one of them")
    return foreign[0] if foreign else None


def _common_prefix(names: Iterable[str]) -> str:
    """Return what comes before every name where a Glow is a part of something larger, such as `model.`.

    Empty where the names have a known layout as they are, or none without it either.
    """
    known = tuple(names)
    taken = ""
    for _ in range(_MAX_PREFIXES + 1):
        if reader_of(known) is not None:
            return taken
        first = {name.partition(".")[0] for name in known if "." in name}
        if len(first) != 1 or not all("." in name for name in known):
            return ""
        prefix = f"{first.pop()}."
        taken += prefix
        known = tuple(name.removeprefix(prefix) for name in known)
    return ""


def _own(path: Path, checkpoint: Checkpoint, options: ImportOptions | None) -> Checkpoint:
    """Hold what was told against what this tool's own file says."""
    config, told = checkpoint.config, options or ImportOptions()
    # A converted checkpoint may be told once more what reading its source took.
    source = {} if checkpoint.origin is None else checkpoint.origin.options
    for name, found, given in (
        ("image-size", "{}x{}".format(*config.image_size), told.image_size and "{}x{}".format(*told.image_size)),
        ("n-bits", config.n_bits, told.n_bits),
        ("input-range", source.get("input_range", "centred"), told.input_range),
        ("scale-map", source.get("scale_map", "sigmoid"), told.scale_map),
    ):
        if given not in (None, found):
            raise CheckpointError(f"{path}: --{name} says {given}, but the checkpoint itself says {found}")
    return checkpoint


def _foreign(path: Path, state: dict[str, Any], options: ImportOptions | None) -> Checkpoint:
    prefix = _common_prefix(state)
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    reader = reader_of(state)
    if reader is None:
        raise _unknown(path, tuple(state))
    options = options or ImportOptions()
    tensors = Tensors(state, path=str(path))
    glow = reader.read(tensors, options)
    tensors.finish()
    if options.scale_map == "sigmoid_plain" and glow.affine:
        glow = glow.with_plain_sigmoid()
    elif options.scale_map not in (None, "sigmoid") and glow.affine:
        raise tensors.refuse(
            f"--scale-map {options.scale_map} cannot be expressed; of affine couplings only those that multiply by "
            "sigmoid(h + 2), or by sigmoid(h), on the way to the latents are read"
        )
    if prefix:
        taken = f"Its tensors' names all begin with {key_name(prefix)!r}, which was taken off."
        glow = replace(glow, notes=(*glow.notes, taken))
    return to_checkpoint(glow, path=path, project=reader.project, options=options)


def _unknown(path: Path, names: tuple[str, ...]) -> CheckpointError:
    """The refusal of a layout that nobody knows: what it is near to, and how to teach it."""
    unfit = why_unfit(names)
    if unfit is not None:
        return CheckpointError(f"{path}: {unfit}")
    found = installed_readers(READERS)
    readers = (*READERS, *found.readers)
    parts = [
        f"{path}: a model, but of no layout known here (its tensors: {', '.join(map(key_name, names[:3]))}, ...)",
        nearest_layout(names, readers)
        or f"read are checkpoints of this tool and of {', '.join(reader.project for reader in readers)}",
        *found.broken,
        f"a reader of your own takes a page: {_PAGE}",
    ]
    return CheckpointError("; ".join(parts))


def _is_npz(path: Path) -> bool:
    """Tell an .npz from a torch file, both zip archives, by the names of their members."""
    return any(member.filename.endswith(".npy") for member in zip_members(path) or ())
