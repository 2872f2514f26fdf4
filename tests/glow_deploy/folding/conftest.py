"""An evaluator of folded models, written from the description of their arrays alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from glow_deploy.folding import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior
from glow_deploy.folding.arrays import edge_map

Coded = tuple[list[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def evaluate() -> Callable[[FoldedGlow, np.ndarray, np.ndarray | None], Coded]:
    """Encode images [N,C,H,W] float64 with a folded model: z1 to zL, and log_prob [N] in nats."""
    return _evaluate


@pytest.fixture(scope="session")
def convolve() -> Callable[[np.ndarray, FoldedConv], np.ndarray]:
    """Apply a folded convolution to [N,in,H,W], in float64."""
    return _convolve


def _evaluate(folded: FoldedGlow, x: np.ndarray, y: np.ndarray | None) -> Coded:
    h = x
    log_prob = np.full(len(x), folded.log_det - 0.5 * folded.dims * math.log(2 * math.pi))
    latents = []
    for level in folded.levels:
        h, log_scale = _steps(_squeeze(h), level, folded)
        log_prob += log_scale
        if level.split is not None:
            h, emitted = np.split(h, 2, axis=1)
            if isinstance(level.split, FoldedPrior):
                mean, log_std = _of_class(level.split, y)
            else:
                mean, log_std = np.split(_convolve(h, level.split), 2, axis=1)
            log_prob += _emit(latents, emitted, mean, log_std)
    log_prob += _emit(latents, h, *_of_class(folded.prior, y))
    return latents, log_prob


def _steps(h: np.ndarray, level: FoldedLevel, folded: FoldedGlow) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros(len(h))
    for step in level.steps:
        kept, moved = np.split(_convolve(h, step.encode), 2, axis=1)
        if folded.coupling == "additive":
            moved = moved + _conditioner(kept, step.conditioner)
        else:
            shift, logit = np.split(_conditioner(kept, step.conditioner), 2, axis=1)
            scale = 1 / (1 + np.exp(-logit))
            if folded.bounded_scale:
                scale = (1 + scale) / 2
            moved = (moved + shift) * scale
            total += np.log(scale).sum(axis=(1, 2, 3))
        h = np.concatenate((kept, moved), axis=1)
    return h, total


def _conditioner(x: np.ndarray, net: FoldedConditioner) -> np.ndarray:
    for conv in (net.conv1, net.conv2):
        x = np.maximum(_convolve(x, conv), 0)
    return _convolve(x, net.conv3)


def _convolve(x: np.ndarray, conv: FoldedConv) -> np.ndarray:
    size = conv.weight.shape[2]
    pad = size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, (size, size), axis=(2, 3))
    result: np.ndarray = np.einsum("nchwij,ocij->nohw", windows, conv.weight.astype(np.float64))
    result = result + conv.bias[:, None, None]
    return result if conv.edge is None else result + edge_map(conv.edge, x.shape[2], x.shape[3])


def _squeeze(x: np.ndarray) -> np.ndarray:
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def _of_class(prior: FoldedPrior, y: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    return (prior.mean, prior.log_scale) if y is None else (prior.mean[y], prior.log_scale[y])


def _emit(latents: list[np.ndarray], x: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    z = (x - mean) * np.exp(-log_std)
    latents.append(z)
    log_prob: np.ndarray = (-0.5 * z**2 - np.broadcast_to(log_std, z.shape)).sum(axis=(1, 2, 3))
    return log_prob
