"""What a forward pass keeps for the backward pass: counted, and chosen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from glow_core.config import GlowConfig
from glow_core.model import Glow

from .reversible import RecomputingGlow
from .settings import Memory

__all__ = ["LossPass", "SavedBytes", "choose_memory", "count_saved", "loss_pass", "plain_bytes"]

LossPass = Glow | RecomputingGlow
"""What gives log_prob [N] of images and labels, with gradients."""

# `auto`: beside what is kept there must be room for weights, moments and what a step needs for a moment.
_SHARE = 0.5
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class SavedBytes:
    """Bytes that autograd holds for backward passes, storages that several nodes hold counted once.

    Attributes:
        held: now.
        peak: at most so far.
    """

    def __init__(self, *, ignored: Iterable[Tensor] = ()) -> None:
        self.held = self.peak = 0
        self._ignored = {tensor.untyped_storage().data_ptr() for tensor in ignored}
        self._holders: dict[int, int] = {}

    def hold(self, tensor: Tensor) -> _Held:
        """Count a tensor until what is returned is gone."""
        return _Held(self, tensor)

    def add(self, pointer: int, size: int) -> None:
        """Count one holder more of a storage."""
        if pointer in self._ignored:
            return
        self._holders[pointer] = self._holders.get(pointer, 0) + 1
        if self._holders[pointer] == 1:
            self.held += size
            self.peak = max(self.peak, self.held)

    def remove(self, pointer: int, size: int) -> None:
        """Count one holder less."""
        if pointer in self._ignored:
            return
        self._holders[pointer] -= 1
        if not self._holders[pointer]:
            del self._holders[pointer]
            self.held -= size


class _Held:
    """A saved tensor. It is gone when autograd lets go of it."""

    def __init__(self, counter: SavedBytes, tensor: Tensor) -> None:
        self._counter = counter
        self.tensor = tensor.detach()  # an output of its own node would keep that node alive
        storage = tensor.untyped_storage()
        self._place = storage.data_ptr(), storage.nbytes()
        counter.add(*self._place)

    def release(self) -> Tensor:
        """Give the tensor to a backward pass."""
        return self.tensor

    def __del__(self) -> None:
        self._counter.remove(*self._place)


@contextmanager
def count_saved(model: nn.Module) -> Iterator[SavedBytes]:
    """Count what autograd saves while the block runs, in backward passes too, but for a model's parameters."""
    counter = SavedBytes(ignored=model.parameters())
    with torch.autograd.graph.saved_tensors_hooks(counter.hold, _Held.release):
        yield counter


def plain_bytes(config: GlowConfig, *, batch: int) -> int:
    """Return what plain autograd keeps of a forward pass over a batch, in float32.

    All images keep the same, and all steps of a level do, so that measuring one and two of each tells of any number.
    """

    def of_images(steps: int) -> int:
        one, two = (_kept_by(replace(config, steps=steps), batch=count) for count in (1, 2))
        return one + (batch - 1) * (two - one)

    one, two = of_images(1), of_images(2)
    return one + (config.steps - 1) * (two - one)


def _kept_by(config: GlowConfig, *, batch: int) -> int:
    with torch.random.fork_rng(devices=[]):
        model = Glow(config).eval()
    x = torch.full((batch, config.channels, *config.image_size), 0.5, dtype=torch.float32)
    y = None if config.num_classes is None else torch.zeros(batch, dtype=torch.int64)
    with count_saved(model) as counter:
        model.log_prob(x, y)
    return counter.peak


def choose_memory(
    memory: Memory, config: GlowConfig, *, batch: int, device: torch.device, processes: int = 1
) -> Literal["plain", "checkpoint", "reversible"]:
    """Return how a run keeps activations. `auto` is plain while that takes at most half of the device's memory.

    The whole memory counts, not what is free at the moment, so that a run that is taken up again goes on as before.

    Args:
        memory: as asked for.
        config: of the model.
        batch: images of one process.
        device: that trains.
        processes: that share the memory of a CPU.
    """
    if memory != "auto":
        return memory
    room = _device_bytes(device) / (processes if device.type == "cpu" else 1)
    return "plain" if plain_bytes(config, batch=batch) <= _SHARE * room else "reversible"


def _device_bytes(device: torch.device) -> int:
    """Memory of the device, or what this process may have of it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows, or a system that does not tell
        return 8 << 30
    for name in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            size = min(size, int(Path(name).read_text()))
    return size


def loss_pass(model: Glow, memory: Literal["plain", "checkpoint", "reversible"]) -> LossPass:
    """Return what training calls for log_prob: the model itself, or one around it that recomputes."""
    return model if memory == "plain" else RecomputingGlow(model, memory=memory)
