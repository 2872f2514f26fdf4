"""The Glow of openai/glow as formulas in NumPy, float64, to hold the reader against: its code no longer runs.

Nothing here shares a line with the reader or this package's model. Images and kernels have their channels last, as
there; the border is a real channel of a really padded image; squeezing goes by the index of each pixel and channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Variables = Mapping[str, np.ndarray]

AVERAGE = "/ExponentialMovingAverage"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model to write, in the terms of that code's options.

    Attributes:
        size: (H, W) of the images; their `image_size` is square.
        levels: `n_levels`.
        depth: steps a level.
        width: of the hidden layers.
        channels: of the images.
        permutation: `flow_permutation` 0, 1, 2, and 3 for the factored 1x1 convolution, which is switched off there.
        affine: `flow_coupling` 1.
        learntop: the top prior is learned.
        classes: `n_y` with `ycond`, None without.
        classifier: `weight_y` is above 0.
    """

    size: tuple[int, int]
    levels: int
    depth: int
    width: int = 5
    channels: int = 3
    permutation: Literal[0, 1, 2, 3] = 2
    affine: bool = True
    learntop: bool = True
    classes: int | None = None
    classifier: bool = False


# ---- writing the variables


def random_variables(sizes: Sizes, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the variables of a model by their names, float32, every one away from where training starts."""
    rng = np.random.default_rng(seed)
    variables: dict[str, np.ndarray] = {}
    channels = sizes.channels
    for level in range(sizes.levels):
        channels *= 4
        for step in range(sizes.depth):
            path = f"model/{level}/{step}"
            variables |= _random_norm(rng, f"{path}/actnorm", channels)
            variables |= _random_permutation(rng, path, channels, sizes.permutation)
            variables |= _random_net(rng, f"{path}/f1", channels // 2, sizes.width, channels, affine=sizes.affine)
        if level < sizes.levels - 1:
            variables |= _random_zeros_conv(rng, f"model/pool{level}/conv", channels // 2, channels)
            channels //= 2
    if sizes.learntop:
        variables |= _random_zeros_conv(rng, "model/prior/p", 2 * channels, 2 * channels)
    if sizes.classes is not None:
        variables |= _random_linear(rng, "model/prior/y_emb", sizes.classes, 2 * channels)
        if sizes.classifier:
            variables |= _random_linear(rng, "model/classifier", channels, sizes.classes)
    return {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in variables.items()}


def _random_norm(rng: np.random.Generator, path: str, channels: int) -> dict[str, np.ndarray]:
    shape = (1, 1, 1, channels)
    return {
        f"{path}_center/b": 0.2 * rng.standard_normal(shape),
        f"{path}_scale/logs": 0.07 * rng.standard_normal(shape),
    }


def _random_permutation(rng: np.random.Generator, path: str, channels: int, kind: int) -> dict[str, np.ndarray]:
    if kind == 0:
        return {}
    order = rng.permutation(channels)
    if kind == 1:
        return {
            f"{path}/shuffle/indices": order.astype(np.int32),
            f"{path}/shuffle/indices_inverse": np.argsort(order).astype(np.int32),
        }
    if kind == 2:
        rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
        return {f"{path}/invconv/W": rotation + 0.1 / math.sqrt(channels) * rng.standard_normal(rotation.shape)}
    return {
        f"{path}/invconv/P": np.eye(channels)[order],
        f"{path}/invconv/L": rng.standard_normal((channels, channels)) / channels,
        f"{path}/invconv/U": rng.standard_normal((channels, channels)) / channels,
        f"{path}/invconv/sign_S": rng.choice([-1.0, 1.0], channels),
        f"{path}/invconv/log_S": 0.1 * rng.standard_normal(channels),
    }


def _random_net(
    rng: np.random.Generator, path: str, inputs: int, width: int, channels: int, *, affine: bool
) -> dict[str, np.ndarray]:
    return {
        f"{path}/l_1/W": rng.standard_normal((3, 3, inputs + 1, width)) / math.sqrt(9 * inputs),
        **_random_norm(rng, f"{path}/l_1/actnorm", width),
        f"{path}/l_2/W": rng.standard_normal((1, 1, width, width)) / math.sqrt(width),
        **_random_norm(rng, f"{path}/l_2/actnorm", width),
        **_random_zeros_conv(rng, f"{path}/l_last", width, channels if affine else channels // 2),
    }


def _random_zeros_conv(rng: np.random.Generator, path: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
        f"{path}/W": 0.3 * rng.standard_normal((3, 3, inputs + 1, outputs)) / math.sqrt(9 * inputs),
        f"{path}/b": 0.1 * rng.standard_normal((1, 1, 1, outputs)),
        f"{path}/logs": 0.1 * rng.standard_normal((1, outputs)),
    }


def _random_linear(rng: np.random.Generator, path: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
        f"{path}/W": 0.2 * rng.standard_normal((inputs, outputs)),
        f"{path}/b": 0.1 * rng.standard_normal((1, outputs)),
        f"{path}/logs": 0.1 * rng.standard_normal((1, outputs)),
    }


# ---- what the variables compute


def encode(
    variables: Variables, sizes: Sizes, images: np.ndarray, labels: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """What that code's `encode` gives, before it flattens it, and the log density.

    Args:
        variables: as written.
        sizes: of the model.
        images: [N,H,W,C] in [0,1).
        labels: [N], of a model with classes.

    Returns:
        eps of every level, finest first, [N,h,w,c], standard normal under the model; log p of the images [N], nats.
    """
    weights = {name: value.astype(np.float64) for name, value in variables.items()}
    z = _squeeze(images - 0.5)
    log_p = np.zeros(len(z))
    latents = []
    for level in range(sizes.levels):
        for step in range(sizes.depth):
            z, log_det = _flow(weights, sizes, f"model/{level}/{step}", z)
            log_p = log_p + log_det
        if level < sizes.levels - 1:
            half = z.shape[3] // 2
            kept, left = z[..., :half], z[..., half:]
            h = _zeros_conv(weights, f"model/pool{level}/conv", kept)
            eps, log_q = _standardised(left, h[..., 0::2], h[..., 1::2])
            latents.append(eps)
            log_p = log_p + log_q
            z = _squeeze(kept)
    channels = z.shape[3]
    h = np.zeros((*z.shape[:3], 2 * channels))
    if sizes.learntop:
        h = _zeros_conv(weights, "model/prior/p", h)
    if sizes.classes is not None:
        assert labels is not None
        h = h + _linear(weights, "model/prior/y_emb", np.eye(sizes.classes)[labels])[:, None, None, :]
    eps, log_q = _standardised(z, h[..., :channels], h[..., channels:])
    return [*latents, eps], log_p + log_q


def _squeeze(x: np.ndarray) -> np.ndarray:
    """Channel 4c + 2i + j is what channel c has at row i and column j of every block of 2x2 pixels."""
    count, height, width, channels = x.shape
    out = np.empty((count, height // 2, width // 2, 4 * channels))
    for c in range(channels):
        for i in range(2):
            for j in range(2):
                out[..., 4 * c + 2 * i + j] = x[:, i::2, j::2, c]
    return out


def _flow(weights: Variables, sizes: Sizes, path: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = x.shape[1] * x.shape[2]
    x = _norm(weights, f"{path}/actnorm", x)
    total = np.full(len(x), pixels * 3 * weights[f"{path}/actnorm_scale/logs"].sum())
    if sizes.permutation == 0:
        x = x[..., ::-1]
    elif sizes.permutation == 1:
        x = np.stack([x[..., int(index)] for index in weights[f"{path}/shuffle/indices"]], axis=3)
    else:
        kernel, log_det = _kernel(weights, f"{path}/invconv", factored=sizes.permutation == 3)
        x = np.einsum("nhwi,io->nhwo", x, kernel)
        total = total + pixels * log_det
    half = x.shape[3] // 2
    kept, moved = x[..., :half], x[..., half:]
    h = _net(weights, f"{path}/f1", kept)
    if sizes.affine:
        scale = 1 / (1 + np.exp(-(h[..., 1::2] + 2)))
        moved = (moved + h[..., 0::2]) * scale
        total = total + np.log(scale).sum(axis=(1, 2, 3))
    else:
        moved = moved + h
    return np.concatenate([kept, moved], axis=3), total


def _norm(weights: Variables, path: str, x: np.ndarray) -> np.ndarray:
    return (x + weights[f"{path}_center/b"]) * np.exp(3 * weights[f"{path}_scale/logs"])


def _kernel(weights: Variables, path: str, *, factored: bool) -> tuple[np.ndarray, float]:
    """The 1x1 kernel, inputs first, and its log|det|."""
    if not factored:
        return weights[f"{path}/W"], float(np.linalg.slogdet(weights[f"{path}/W"])[1])
    log_s = weights[f"{path}/log_S"]
    lower = np.tril(weights[f"{path}/L"], -1) + np.eye(len(log_s))
    upper = np.triu(weights[f"{path}/U"], 1) + np.diag(weights[f"{path}/sign_S"] * np.exp(log_s))
    return weights[f"{path}/P"] @ lower @ upper, float(log_s.sum())


def _net(weights: Variables, path: str, x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(_norm(weights, f"{path}/l_1/actnorm", _conv3x3(x, weights[f"{path}/l_1/W"])), 0)
    hidden = np.einsum("nhwi,io->nhwo", hidden, weights[f"{path}/l_2/W"][0, 0])
    return _zeros_conv(weights, f"{path}/l_last", np.maximum(_norm(weights, f"{path}/l_2/actnorm", hidden), 0))


def _zeros_conv(weights: Variables, path: str, x: np.ndarray) -> np.ndarray:
    return (_conv3x3(x, weights[f"{path}/W"]) + weights[f"{path}/b"]) * np.exp(3 * weights[f"{path}/logs"])


def _linear(weights: Variables, path: str, x: np.ndarray) -> np.ndarray:
    return (x @ weights[f"{path}/W"] + weights[f"{path}/b"]) * np.exp(3 * weights[f"{path}/logs"])


def _conv3x3(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution of the image padded with zeros and, after its channels, one that is 1 in the padding alone."""
    count, height, width, _ = x.shape
    border = np.ones((count, height + 2, width + 2, 1))
    border[:, 1:-1, 1:-1] = 0
    padded = np.concatenate([np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), border], axis=3)
    out = np.zeros((count, height, width, kernel.shape[3]))
    for i in range(3):
        for j in range(3):
            out += np.einsum("nhwi,io->nhwo", padded[:, i : i + height, j : j + width], kernel[i, j])
    return out


def _standardised(x: np.ndarray, mean: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    eps = (x - mean) / np.exp(logs)
    each = -0.5 * (math.log(2 * math.pi) + 2 * logs + eps**2)
    return eps, each.sum(axis=(1, 2, 3))
