"""Bits/dim of a data set, and sample grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from glow_core.model import Glow

from .data import ImageSource, read_batch
from .sampler import dequantize, derive_seed, draw_noise, generator_for

__all__ = ["dataset_bits_per_dim", "draw_pixels", "labels_of", "log_prob_sum"]


def labels_of(images: ImageSource, indices: np.ndarray, model: Glow, device: torch.device) -> Tensor | None:
    """Return the class labels int64 [n] of these images for a class-conditional model, None for others."""
    if model.config.num_classes is None or images.labels is None:
        return None
    return torch.from_numpy(np.ascontiguousarray(images.labels[indices], dtype=np.int64)).to(device)


@torch.no_grad()
def log_prob_sum(
    model: Glow,
    images: ImageSource,
    indices: np.ndarray,
    *,
    seed: int,
    batch_size: int = 64,
    stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """Return the sum of log_prob over images under dequantisation noise that depends on (seed, image) alone.

    Args:
        model: on any device, in evaluation mode.
        images: the data set.
        indices: which of its images, int64 [n].
        seed: of the noise.
        batch_size: changes the result by rounding only.
        stop: asked before every batch; where it says True the result is None.
    """
    parameter = next(model.parameters())
    total = 0.0
    for start in range(0, len(indices), batch_size):
        if stop():
            return None
        chosen = indices[start : start + batch_size]
        pixels = read_batch(images, chosen, model.config)
        noise = torch.stack(
            [draw_noise(pixels.shape[1:], generator_for(seed, "evaluation", int(index))) for index in chosen]
        )
        x = dequantize(pixels, noise, n_bits=model.config.n_bits).to(parameter.device, parameter.dtype)
        log_prob = model.log_prob(x, labels_of(images, chosen, model, parameter.device))
        total += float(log_prob.sum(dtype=torch.float64))
    return total


def dataset_bits_per_dim(
    model: Glow, images: ImageSource, *, seed: int = 0, batch_size: int = 64, indices: np.ndarray | None = None
) -> float:
    """Return the mean bits/dim = n_bits - log_prob / (D ln 2) of a data set, one noise draw per image.

    Args:
        model: on any device, in evaluation mode.
        images: 8-bit picture values.
        seed: of the dequantisation noise.
        batch_size: changes the result by rounding only.
        indices: which images, int64 [n]; None: all.
    """
    chosen = np.arange(len(images), dtype=np.int64) if indices is None else indices
    total = log_prob_sum(model, images, chosen, seed=seed, batch_size=batch_size)
    assert total is not None
    return model.config.n_bits - total / len(chosen) / (model.config.dims * math.log(2))


@torch.no_grad()
def draw_pixels(model: Glow, count: int, *, temperature: float, seed: int) -> tuple[np.ndarray, int]:
    """Draw images with the same noise at every call, so that grids of one run can be compared.

    Class-conditional models get the classes in turn.

    Returns:
        n_bits-deep pixels uint8 [n,C,H,W] of the finite draws, and the number of non-finite ones, which are left out.
    """
    config = model.config
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(derive_seed(seed, "samples"))
    y = None if config.num_classes is None else torch.arange(count, device=device) % config.num_classes
    x = model.sample(count, temperature=temperature, generator=generator, y=y)
    finite = torch.isfinite(x).flatten(1).all(dim=1)
    x = x[finite]
    pixels = torch.floor(x * 2**config.n_bits).clamp(0, 2**config.n_bits - 1).to(torch.uint8)
    return pixels.cpu().numpy(), count - int(finite.sum())
