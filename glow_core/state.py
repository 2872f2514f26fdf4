"""State dictionaries from files that may be damaged or hostile: loaded without running code, held against the model."""

from __future__ import annotations

import mmap as mapping
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .archive import check_records, lie_in_records, zip_members
from .config import GlowConfig
from .errors import CheckpointError
from .model import Glow

__all__ = ["check_state", "is_plain", "key_name", "load_pt", "reference_state"]


_MOST_NESTING = 16

_BYTEARRAY = b"\nbytearray\n"

# How torch names, in its refusal, what a file asks to be called.
_GLOBAL = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")


class _NumberKind:
    """Stands in for `numpy.dtype` while a file is read."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _no_number(*_: object) -> None:
    """Stands in for what makes a NumPy number while a file is read."""


# Trainers leave NumPy's numbers beside the weights (a learning rate, the best loss), which nothing here reads. They
# are passed over, so that their files can be read without calling anything of NumPy's. Both names that it has had.
_PASSED_OVER: list[Any] = [
    (_NumberKind, "numpy.dtype"),
    (_no_number, "numpy.core.multiarray.scalar"),
    (_no_number, "numpy._core.multiarray.scalar"),
]


def load_pt(path: Path, *, mmap: bool) -> Any:
    """Read a file of torch's that is as it was written, without ever running code from it.

    Args:
        path: written by `torch.save`, in today's format or the older one. That has no checksums, only lengths.
        mmap: leave the tensors in the file, where its format (that of torch 1.6 and later) allows it.

    Raises:
        CheckpointError: not such a file, damaged, or it holds more than tensors, numbers and strings.
    """
    members = zip_members(path)
    records = None if members is None else check_records(path, members)
    if _asks_for_memory(path, members):
        raise CheckpointError(
            f"{path}: refused, because it asks for memory that it does not fill (a bytearray), which no state "
            "dictionary does; save the model's state_dict() with torch.save"
        )
    mapped = mmap and records is not None
    try:
        with torch.serialization.safe_globals(_PASSED_OVER), path.open("rb") as file:
            content = torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
            rest = b"" if records is not None else file.read(1)
    except pickle.UnpicklingError as error:
        named = _GLOBAL.search(str(error))
        what = f"it holds {key_name(named[1])}, and loading that" if named else "loading it"
        raise CheckpointError(
            f"{path}: refused, because {what} would run code from the file, or it is not a checkpoint; only plain "
            "tensors, numbers and strings are read: save them alone, torch.save(model.state_dict(), 'weights.pt')"
        ) from error
    except Exception as error:  # damaged zips and pickles surface as many unrelated types
        raise CheckpointError(
            f"{path}: not a readable checkpoint (damaged, cut short, or another kind of file)"
        ) from error
    if rest or (mapped and records is not None and not lie_in_records(content, records)):
        raise CheckpointError(
            f"{path}: damaged: its tensors are not as long as the records that hold them; copy the file again"
        )
    return content


def reference_state(path: Path, config: GlowConfig, state: Any) -> dict[str, Tensor]:
    """Names, shapes and dtypes of the model's tensors, without allocating them."""
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: 'model' is missing or not a dictionary of tensors")
    steps = config.levels * config.steps
    if len(state) < steps:
        # Even a model that is only described takes time to build: no more of it than the file has tensors for.
        raise CheckpointError(
            f"{path}: 'model' does not fit the config (tensors are missing: {len(state)} for {steps} steps of flow)"
        )
    with torch.device("meta"):
        return Glow(config).state_dict()


def check_state(path: Path, state: Any, reference: Mapping[str, Tensor], *, part: str) -> dict[str, Tensor]:
    """Return the tensors of a state dictionary in the model's order, once they are known to be the model's.

    Args:
        path: names the file in messages.
        state: as read.
        reference: of `reference_state`.
        part: what the dictionary is called in messages.

    Raises:
        CheckpointError: keys, shapes, dtypes, non-finite values or fixed tensors that cannot be what they should be.
    """
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: '{part}' is missing or not a dictionary of tensors")
    missing = sorted(set(reference) - set(state))
    unknown = sorted(key_name(key) for key in set(state) - set(reference))
    if missing or unknown:
        listed = ", ".join([*(f"no {key}" for key in missing[:2]), *(f"unknown {key}" for key in unknown[:2])])
        counts = f"{len(missing)} missing, {len(unknown)} unknown tensors"
        raise CheckpointError(f"{path}: '{part}' does not fit the config ({counts}: {listed})")
    for name, expected in reference.items():
        tensor = state[name]
        if not is_plain(tensor):
            raise CheckpointError(f"{path}: '{part}' tensor {name} is not a plain array (sparse, or without its data)")
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            found = f"{tensor.dtype} {tuple(tensor.shape)}"
            wanted = f"{expected.dtype} {tuple(expected.shape)}"
            raise CheckpointError(f"{path}: '{part}' tensor {name} is {found}; the config asks for {wanted}")
        if tensor.is_floating_point() and tensor.numel() and not all(map(torch.isfinite, torch.aminmax(tensor))):
            raise CheckpointError(f"{path}: '{part}' tensor {name} holds NaN or infinity")
        problem = _buffer_problem(name, tensor)
        if problem is not None:
            raise CheckpointError(f"{path}: '{part}' tensor {name} {problem}")
    return {name: state[name] for name in reference}


def key_name(key: object) -> str:
    """One line of a key that may come from any file; what a terminal would obey is shown as a question mark."""
    if not isinstance(key, str):
        return f"a key of type {type(key).__name__}"
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(key.split())[:80])


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor whose numbers all lie in memory, one after another: a few bytes can pose as more."""
    return (
        isinstance(value, Tensor)
        and not value.is_nested
        and not value.is_quantized
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_contiguous()
    )


def _asks_for_memory(path: Path, members: Sequence[zipfile.ZipInfo] | None) -> bool:
    """Whether a pickle names `bytearray`, which torch calls with any size: a few bytes would take all memory.

    A pickle names it in plain letters between two line ends, in both formats of torch's. Torch finds its records by
    name, whatever the case.
    """
    try:
        if members is None:
            with path.open("rb") as handle, mapping.mmap(handle.fileno(), 0, access=mapping.ACCESS_READ) as whole:
                return whole.find(_BYTEARRAY) >= 0
        with zipfile.ZipFile(path) as archive:
            return any(
                _BYTEARRAY in archive.read(member) for member in members if member.filename.lower().endswith(".pkl")
            )
    except Exception:  # damage, which torch says more about
        return False


def _buffer_problem(name: str, tensor: Tensor) -> str | None:
    """Say what is wrong with a tensor that is fixed rather than learned.

    The log-determinant takes these for what they should be, so that other values give a wrong density.
    """
    match name.rpartition(".")[2]:
        case "sign" if not bool((tensor.abs() == 1).all()):
            return "holds other signs than -1 and 1"
        case "permutation":
            ones = tensor == 1
            once = bool((ones.sum(dim=0) == 1).all()) and bool((ones.sum(dim=1) == 1).all())
            if not once or not bool((ones | (tensor == 0)).all()):
                return "is not a permutation matrix"
        case "order" if not torch.equal(torch.sort(tensor).values, torch.arange(len(tensor))):
            return f"is not a permutation of 0..{len(tensor) - 1}"
        case "initialized" if int(tensor) not in (0, 1):
            return "is a flag other than 0 and 1"
    return None
