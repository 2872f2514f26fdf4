"""What training a model would take on this device, without images: one step is measured on random ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from glow_core.config import GlowConfig
from glow_core.errors import TrainingError

from .cost import model_cost
from .devices import find_device
from .memory import (
    COPIES,
    checkpoint_bytes,
    choose_memory,
    count_saved,
    device_bytes,
    loss_pass,
    plain_bytes,
    reversible_bytes,
)
from .optimization import make_optimizer
from .precision import check_precision
from .prepared import Computing, check_exact_aware, new_model, prepare
from .settings import TrainSettings
from .timing import CHEAP_SECONDS, seconds_of

__all__ = ["TrainPlan", "plan_training"]

Way = Literal["plain", "checkpoint", "reversible"]
_WAYS: tuple[Way, ...] = ("plain", "checkpoint", "reversible")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What a step takes. Bytes are those of one process; what PyTorch itself takes comes on top.

    Attributes:
        parameters: numbers that training changes.
        weight_bytes: of the weights and their gradients.
        optimizer_bytes: of the optimizer's moments.
        average_bytes: of the averaged weights.
        activation_bytes: kept for the backward pass, at the height of a step.
        memory_bytes: all of these.
        device_bytes: what the device has.
        memory: how activations are kept.
        accumulate: parts of a step.
        batch_size: images of a step.
        step_seconds: of a step. Penalties are left out.
    """

    parameters: int
    weight_bytes: int
    optimizer_bytes: int
    average_bytes: int
    activation_bytes: int
    memory_bytes: int
    device_bytes: int
    memory: Way
    accumulate: int
    batch_size: int
    step_seconds: float


def plan_training(config: GlowConfig, settings: TrainSettings) -> TrainPlan:
    """Measure one step on random images, in one process.

    Raises:
        TrainingError: the model cannot be trained in the device's memory, with what would fit; or the device is
            not there, or cannot compute in the precision; or `exact_aware` is for another model.
    """
    check_exact_aware(config, settings)
    device = find_device(settings.device)
    check_precision(settings.precision, device)
    memory = choose_memory(settings, config, device=device)
    _check_fits(config, settings, memory, device)
    before = torch.get_num_threads()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            kept, seconds = _measured(config, settings, memory, device)
    finally:
        torch.set_num_threads(before)
    weights = 4 * model_cost(config).parameters
    return TrainPlan(
        parameters=weights // 4,
        weight_bytes=2 * weights,
        optimizer_bytes=2 * weights,
        average_bytes=weights,
        activation_bytes=kept,
        memory_bytes=COPIES * weights + kept,
        device_bytes=device_bytes(device),
        memory=memory,
        accumulate=settings.accumulate,
        batch_size=settings.batch_size,
        step_seconds=seconds,
    )


def _need(config: GlowConfig, settings: TrainSettings, way: Way, parts: int, device: torch.device) -> int:
    """Foretell the bytes of a step."""
    measures = {"plain": plain_bytes, "checkpoint": checkpoint_bytes, "reversible": reversible_bytes}
    batch = math.ceil(settings.batch_size / parts)
    kept = measures[way](config, batch=batch, computing=Computing.of(settings, device))
    return COPIES * 4 * model_cost(config).parameters + kept


def _check_fits(config: GlowConfig, settings: TrainSettings, memory: Way, device: torch.device) -> None:
    there = device_bytes(device)
    need = _need(config, settings, memory, settings.accumulate, device)
    if need <= there:
        return
    words = f"this run needs about {need / 1e9:.1f} GB (--memory {memory}), and the device has {there / 1e9:.1f} GB"
    for parts in _finer(settings):
        for way in _WAYS[:2] if settings.exact_aware else _WAYS:
            less = _need(config, settings, way, parts, device)
            if less <= there:
                how = f"--memory {way}" + (f" --accumulate {parts}" if parts > 1 else "")
                raise TrainingError(f"{words}; {how} would take about {less / 1e9:.1f} GB")
    if settings.exact_aware:  # which takes a batch whole
        raise TrainingError(f"{words}; choose a smaller batch or a smaller model")
    raise TrainingError(f"{words}; not even one image at a time fits: choose a smaller model")


def _finer(settings: TrainSettings) -> Iterator[int]:
    """Numbers of parts to try, up to one for each image."""
    parts = settings.accumulate
    if settings.exact_aware:
        yield parts
        return
    while parts < settings.batch_size:
        yield parts
        parts *= 2
    yield settings.batch_size


def _measured(config: GlowConfig, settings: TrainSettings, memory: Way, device: torch.device) -> tuple[int, float]:
    """Bytes kept and seconds of a step: the parts of the images, and the optimizer."""
    model = new_model(config, settings, device)
    images = math.ceil(settings.batch_size / settings.accumulate)
    x = torch.rand(images, config.channels, *config.image_size).to(device)
    y = None if config.num_classes is None else torch.zeros(images, dtype=torch.int64, device=device)
    few = min(images, settings.init_images)
    model.initialize(x[:few], None if y is None else y[:few])
    prepare(model, settings)
    log_prob = loss_pass(model, memory, precision=settings.precision)

    def gradients() -> None:
        model.zero_grad()
        (-log_prob(x, y).mean()).backward()

    with count_saved(model) as counter:
        seconds = seconds_of(gradients, device)
    if seconds < CHEAP_SECONDS:
        seconds = seconds_of(gradients, device)
    optimizer = make_optimizer(model.parameters(), settings)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()  # allocates the moments
    return counter.peak, settings.accumulate * seconds + seconds_of(optimizer.step, device)
