"""What a forward pass keeps for the backward pass: counted, and chosen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from glow_core.config import GlowConfig
from glow_core.model import Glow

from .cost import model_cost
from .penalties import penalty_terms
from .prepared import Computing
from .reversible import RecomputingGlow
from .settings import Precision, TrainSettings

__all__ = [
    "COPIES",
    "LossPass",
    "SavedBytes",
    "checkpoint_bytes",
    "choose_memory",
    "count_saved",
    "device_bytes",
    "loss_pass",
    "penalty_bytes",
    "plain_bytes",
    "reversible_bytes",
]

LossPass = Glow | RecomputingGlow
"""What gives log_prob [N] of images and labels, with gradients."""

COPIES = 5
"""Of the weights' size: weights, gradients, two moments of the optimizer, averaged weights."""

# `auto`: beside these and what is kept there must be room for what a step needs for a moment.
_SHARE = 0.5
_CPU = torch.device("cpu")
_ON_A_CPU = Computing()
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


def plain_bytes(config: GlowConfig, *, batch: int, computing: Computing = _ON_A_CPU) -> int:
    """Return what plain autograd keeps of a forward pass over a batch."""
    return _extrapolated(_forward(computing), config, images=batch, steps=config.steps)


def checkpoint_bytes(config: GlowConfig, *, batch: int, computing: Computing = _ON_A_CPU) -> int:
    """Return a bound on what `checkpoint` keeps of a batch: float32 inputs of all steps, and activations of one."""
    inputs = 4 * batch * config.steps * sum(math.prod(shape) for shape in config.level_shapes)
    return inputs + _extrapolated(_forward(computing), config, images=batch, steps=1)


def reversible_bytes(config: GlowConfig, *, batch: int, computing: Computing = _ON_A_CPU) -> int:
    """Return a bound on what `reversible` keeps of a batch: ends of levels, and activations of a step of each."""
    ends = 2 * 4 * batch * sum(math.prod(shape) for shape in config.level_shapes)
    return ends + _extrapolated(_forward(computing), config, images=batch, steps=1)


def penalty_bytes(
    config: GlowConfig,
    settings: TrainSettings,
    *,
    checkpointed: bool,
    processes: int = 1,
    device: torch.device = _CPU,
) -> int:
    """Return what the penalties of a run keep at most in one process, in float32; 0 where there are none."""
    if settings.inverse_penalty == 0 and settings.conditioning_penalty == 0:
        return 0
    images = math.ceil(min(settings.inverse_penalty_images, settings.batch_size) / processes)

    def penalties(model: Glow, x: Tensor, y: Tensor | None) -> None:
        Computing(convolved=device.type != "cpu").set(model)
        step = settings.inverse_penalty_every
        terms = penalty_terms(model, x, y, settings=settings, step=step, checkpointed=checkpointed)
        if terms.objective is not None:
            torch.autograd.grad(terms.objective, list(model.parameters()), allow_unused=True)

    return _extrapolated(penalties, config, images=images, steps=config.steps)


_Pass = Callable[[Glow, Tensor, Tensor | None], None]


def _forward(computing: Computing) -> _Pass:
    def forward(model: Glow, x: Tensor, y: Tensor | None) -> None:
        computing.set(model)
        model.log_prob(x, y)

    return forward


def _extrapolated(work: _Pass, config: GlowConfig, *, images: int, steps: int) -> int:
    """All images keep the same, and all steps of a level do: measuring one and two of each tells of any number."""

    def of_images(depth: int) -> int:
        one, two = (_kept_by(work, replace(config, steps=depth), batch=count) for count in (1, 2))
        return one + (images - 1) * (two - one)

    one = of_images(1)
    return one if steps == 1 else one + (steps - 1) * (of_images(2) - one)


def _kept_by(work: _Pass, config: GlowConfig, *, batch: int) -> int:
    with torch.random.fork_rng(devices=[]):
        model = Glow(config).eval()
    x = torch.full((batch, config.channels, *config.image_size), 0.5, dtype=torch.float32)
    y = None if config.num_classes is None else torch.zeros(batch, dtype=torch.int64)
    with count_saved(model) as counter:
        work(model, x, y)
    return counter.peak


def choose_memory(
    settings: TrainSettings, config: GlowConfig, *, device: torch.device, processes: int = 1
) -> Literal["plain", "checkpoint", "reversible"]:
    """Return how a run keeps activations. `auto` is the first way that takes at most half of the device's memory.

    The copies of the weights and the penalties count. `checkpoint` comes before `reversible`, since it needs no inverse
    and takes no more time; with `exact_aware` it is the last. The whole memory counts, not what is free at the moment.

    Args:
        settings: of the run, with the way that is asked for.
        config: of the model.
        device: that trains.
        processes: that share the batch, and the memory of a CPU.
    """
    if settings.memory != "auto":
        return settings.memory
    room = _SHARE * device_bytes(device) / (processes if device.type == "cpu" else 1)
    room -= COPIES * 4 * model_cost(config).parameters
    batch = math.ceil(settings.batch_size // processes / settings.accumulate)
    computing = Computing.of(settings, device)

    def penalties(*, checkpointed: bool) -> int:
        return penalty_bytes(config, settings, checkpointed=checkpointed, processes=processes, device=device)

    # Passes and penalties come one after the other.
    if max(plain_bytes(config, batch=batch, computing=computing), penalties(checkpointed=False)) <= room:
        return "plain"
    if settings.exact_aware:  # what rounds does not find its input again
        return "checkpoint"
    if max(checkpoint_bytes(config, batch=batch, computing=computing), penalties(checkpointed=True)) <= room:
        return "checkpoint"
    return "reversible"


def device_bytes(device: torch.device) -> int:
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


def loss_pass(
    model: Glow, memory: Literal["plain", "checkpoint", "reversible"], *, precision: Precision = "float32"
) -> LossPass:
    """Return what training calls for log_prob: the model itself, or one around it that recomputes.

    Its guard expects the model to compute in `precision`, which this does not set.
    """
    return model if memory == "plain" else RecomputingGlow(model, memory=memory, coarse=precision != "float32")
