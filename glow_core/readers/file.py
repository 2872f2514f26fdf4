"""State dictionaries out of whatever other projects wrap them in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError
from ..state import key_name

__all__ = ["read_npz", "state_of"]

# Dictionaries that hold a model beside other things: a trainer's counters, its optimizer.
_WRAPPERS = ("graph", "model", "state_dict", "model_state_dict", "net")
_MAX_NESTING = 4
_PARALLEL = "module."  # what torch.nn.DataParallel puts before every name


def state_of(content: Any, *, path: Path) -> dict[str, Tensor]:
    """Find the state dictionary in what was read from a file, and take off what wraps it.

    Args:
        content: plain containers of tensors, as `load_pt` gives them.
        path: names the file in messages.

    Returns:
        name -> tensor whose numbers are all in memory; `module.` is taken off the names where every name has it.

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
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged archives surface as many unrelated types
        raise CheckpointError(f"{path}: not a readable .npz file of plain numbers (damaged, or cut short)") from error
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "fiub"]
    if wrong:
        raise CheckpointError(f"{path}: array {key_name(wrong[0])} holds {arrays[wrong[0]].dtype}, not numbers")
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _plain(state: Mapping[Any, Tensor], *, path: Path) -> dict[str, Tensor]:
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: the state dictionary has {key_name(name)}; names were expected")
        if not _whole(tensor):
            raise CheckpointError(f"{path}: tensor {key_name(name)} is not a plain array (sparse, or without its data)")
    if state and all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return dict(state)


def _whole(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor lie in memory, in any order: a few bytes can pose as more."""
    return (
        not tensor.is_nested
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_complex()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
