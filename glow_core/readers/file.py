"""State dictionaries out of whatever other projects wrap them in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glow_core.archive import zip_members
from glow_core.errors import CheckpointError
from glow_core.state import key_name

__all__ = ["read_npz", "state_of"]

# Dictionaries that hold a model beside other things: a trainer's counters, its optimizer.
_WRAPPERS = ("graph", "model", "state_dict", "model_state_dict", "state", "net")
_MAX_NESTING = 4
_PREFIXES = ("module.", "_orig_mod.")  # what torch.nn.DataParallel and torch.compile put before every name
_MAX_UNPACKED = 32  # times the size of an .npz; weights shrink little, and zeros would unpack a thousandfold
_SMALL = 128 << 20  # bytes, whatever they were packed to


def state_of(content: Any, *, path: Path) -> dict[str, Tensor]:
    """Find the state dictionary in what was read from a file, and take off what wraps it.

    Args:
        content: plain containers of tensors, as `load_pt` gives them.
        path: names the file in messages.

    Returns:
        name -> tensor whose numbers are all in memory; `module.` and the like are taken off where every name has it.

    Raises:
        CheckpointError: there is no such dictionary.
    """
    for _ in range(_MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return _plain(content, path=path)
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    raise CheckpointError(
        f"{path}: not a checkpoint (no state dictionary in it); give a checkpoint of this tool, or what the training "
        f"code's state_dict() gives, alone or under one of {', '.join(_WRAPPERS)}"
    )


def read_npz(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an .npz file; arrays of Python objects are refused.

    Args:
        path: the file.

    Raises:
        CheckpointError: not such a file, damaged, or it holds more than numbers.
    """
    unpacked = sum(member.file_size for member in zip_members(path) or ())
    if unpacked > max(_SMALL, _MAX_UNPACKED * path.stat().st_size):
        raise CheckpointError(f"{path}: refused, because it would unpack to {unpacked} bytes; write it uncompressed")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged archives surface as many unrelated types
        raise CheckpointError(f"{path}: not a readable .npz file of plain numbers (damaged, or cut short)") from error
    return _plain({name: _tensor(name, array, path=path) for name, array in arrays.items()}, path=path)


def _tensor(name: str, array: Any, *, path: Path) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise CheckpointError(f"{path}: its member {key_name(name)} is not an array; only arrays of numbers are read")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        found = key_name(str(array.dtype))
        raise CheckpointError(f"{path}: array {key_name(name)} holds {found}, not numbers of at most 64 bits")
    # In this machine's byte order, which torch asks for, and with no dimension more or less.
    return torch.from_numpy(np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _plain(state: Mapping[Any, Tensor], *, path: Path) -> dict[str, Tensor]:
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: the state dictionary has {key_name(name)}; names were expected")
        if not _whole(tensor):
            raise CheckpointError(
                f"{path}: tensor {key_name(name)} is not a plain array of numbers (sparse, quantized, complex, or "
                "without its data)"
            )
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    if sum(map(_bytes, state.values())) > sum(storages.values()):
        raise CheckpointError(f"{path}: its tensors overlap in memory; save copies of them (tensor.clone())")
    plain = {name: tensor.detach() for name, tensor in state.items()}
    for _ in range(_MAX_NESTING):
        prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in plain)), "")
        plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    return plain


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _whole(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor lie in memory, in any order: a few bytes can pose as more."""
    return (
        not tensor.is_nested
        and not tensor.is_quantized
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_complex()
        and _bytes(tensor) <= tensor.untyped_storage().nbytes()
    )
