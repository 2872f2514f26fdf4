"""What a reader is, and how it takes tensors out of a file it need not trust."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from glow_core.errors import CheckpointError, MissingFactError
from glow_core.import_options import ImportOptions
from glow_core.state import key_name

from .layers import ForeignGlow

__all__ = ["Reader", "Tensors"]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One project's checkpoint layout.

    Attributes:
        project: whose layout it is, as its repository is called.
        recognise: whether a state dictionary has this layout; looks at names alone.
        read: takes every tensor that counts and says what the rest was. Raises CheckpointError for a file that is not
            what its names promise, or holds what this package's model cannot express; asks `options` for what is not
            in the file.
        layout: names of its tensors with `#` for each number, so that a file of a nearly equal layout can be told what
            it is near to. Empty where that is of no interest.
    """

    project: str
    recognise: Callable[[Iterable[str]], bool]
    read: Callable[[Tensors, ImportOptions], ForeignGlow]
    layout: tuple[str, ...] = ()


class Tensors:
    """A state dictionary that remembers what was taken, so that nothing is passed over in silence.

    Args:
        state: name -> tensor.
        path: names the file in messages.
    """

    def __init__(self, state: Mapping[str, Tensor], *, path: str) -> None:
        self._state = state
        self._left = set(state)
        self.path = path

    def __contains__(self, name: object) -> bool:
        return name in self._state

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in the file."""
        return tuple(self._state)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, which does not count as taking it.

        Raises:
            CheckpointError: there is none of that name.
        """
        return tuple(self._found(name).shape)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """Take a tensor in float64.

        Args:
            name: of the tensor.
            *shape: what it must be; None stands for any length.

        Raises:
            CheckpointError: it is missing, has another shape, or holds NaN or infinity.
        """
        return self.weights(name, *shape).double()

    def weights(self, name: str, *shape: int | None) -> Tensor:
        """Take a large tensor in float32, or in float64 where it is stored so; arguments and errors as for `take`."""
        tensor = self._found(name)
        found = tuple(tensor.shape)
        if len(found) != len(shape) or any(want not in (None, have) for want, have in zip(shape, found, strict=True)):
            wanted = ", ".join("any" if side is None else str(side) for side in shape)
            raise CheckpointError(f"{self.path}: tensor {name} has shape {found}; ({wanted}) was expected")
        self._left.discard(name)
        tensor = tensor.contiguous()
        tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
        if tensor.numel() and not all(map(torch.isfinite, torch.aminmax(tensor))):
            raise CheckpointError(f"{self.path}: tensor {name} holds NaN or infinity")
        return tensor

    def ignore(self, *names: str) -> None:
        """Pass over tensors that change nothing, where they are there at all."""
        self._left.difference_update(names)

    def ignore_prefix(self, prefix: str) -> bool:
        """Pass over every tensor whose name starts so; tells whether there was any."""
        found = {name for name in self._left if name.startswith(prefix)}
        self._left -= found
        return bool(found)

    def finish(self) -> None:
        """Make sure that every tensor was taken or passed over.

        Raises:
            CheckpointError: some was not: the file holds more than the reader knows.
        """
        if self._left:
            some = ", ".join(key_name(name) for name in sorted(self._left)[:3])
            raise CheckpointError(
                f"{self.path}: {len(self._left)} tensors have no place in this layout ({some}); "
                "the code that wrote the file was changed, or is of another version"
            )

    def refuse(self, why: str) -> CheckpointError:
        """Return the error for a model that cannot be expressed; `why` says what and what to do."""
        return CheckpointError(f"{self.path}: {why}")

    def settle(self, name: str, found: object, given: object, option: str) -> None:
        """Refuse an option that contradicts the file.

        Args:
            name: what it is about, in words.
            found: what the file says.
            given: what the option says, None where it was not given.
            option: as it is written on the command line.

        Raises:
            CheckpointError: they differ.
        """
        if given is not None and given != found:
            raise CheckpointError(f"{self.path}: {option} says {given}, but {name} in the file is {found}")

    def check_size(self, size: tuple[int, int], *, halvings: int) -> None:
        """Refuse a told image size (H, W) that cannot be squeezed as often as the model does.

        Raises:
            CheckpointError: a side is no multiple of 2^halvings.
        """
        factor = 2**halvings
        if size[0] % factor or size[1] % factor:
            raise self.refuse(
                f"--image-size {size[0]}x{size[1]} cannot be right: this model halves its images {halvings} times, so "
                f"both sides are multiples of {factor}"
            )

    def ask(self, option: str, what: str) -> MissingFactError:
        """Return the error for a fact that the file does not hold and nobody gave."""
        return MissingFactError(self.path, what=what, option=option)

    def _found(self, name: str) -> Tensor:
        try:
            return self._state[name]
        except KeyError:
            raise CheckpointError(
                f"{self.path}: no tensor {name}; the file is incomplete or of another layout"
            ) from None
