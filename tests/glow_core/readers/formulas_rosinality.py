"""The Glow of rosinality/glow-pytorch as formulas in NumPy, float64, to hold the reader against.

Nothing here shares a line with the reader or this package's model: convolutions are sums over shifted windows, padded
with whatever the layer pads with, and latents stay as they are, with their priors' mean and deviation beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model to write; `size` is (H, W) of the images."""

    size: tuple[int, int]
    levels: int
    steps: int
    width: int
    channels: int = 3
    affine: bool = True
    lu: bool = True
    module: bool = True
    flags: bool = True


@dataclass(frozen=True, kw_only=True)
class Latent:
    """One level's output as that code returns it, and the normal distribution it is held against; [N,C,H,W] each."""

    raw: np.ndarray
    mean: np.ndarray
    log_sd: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return (self.raw - self.mean) / np.exp(self.log_sd)

    @property
    def log_p(self) -> np.ndarray:
        each = -0.5 * math.log(2 * math.pi) - self.log_sd - 0.5 * self.normal**2
        return each.reshape(len(each), -1).sum(axis=1)


# ---- writing checkpoints


def random_state(sizes: Sizes, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw a state dictionary in that project's layout: float32, every tensor away from where training starts."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    prefix = "module." if sizes.module else ""
    channels = sizes.channels
    for level in range(sizes.levels):
        last = level == sizes.levels - 1
        channels *= 4
        for step in range(sizes.steps):
            path = f"{prefix}blocks.{level}.flows.{step}"
            state |= _random_actnorm(rng, f"{path}.actnorm", channels, flag=sizes.flags)
            # --no_lu does not reach the last level in that code.
            factored = sizes.lu or last
            state |= (_random_lu if factored else _random_plain)(rng, f"{path}.invconv", channels)
            outputs = channels if sizes.affine else channels // 2
            state |= _random_net(rng, f"{path}.coupling.net", channels // 2, sizes.width, outputs)
        path = f"{prefix}blocks.{level}.prior"
        state |= _random_last(rng, path, channels if last else channels // 2, 2 * channels if last else channels)
        channels //= 2
    return {name: torch.from_numpy(np.array(_narrowed(value), order="C")) for name, value in state.items()}


def _narrowed(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype == np.float64 else value


def _random_actnorm(rng: np.random.Generator, path: str, channels: int, *, flag: bool) -> dict[str, np.ndarray]:
    shape = (1, channels, 1, 1)
    scale = np.exp(0.2 * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)
    state = {f"{path}.loc": 0.2 * rng.standard_normal(shape), f"{path}.scale": scale}
    return {**state, f"{path}.initialized": np.uint8([1]).reshape(())} if flag else state


def _random_plain(rng: np.random.Generator, path: str, channels: int) -> dict[str, np.ndarray]:
    rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
    weight = rotation + 0.1 / math.sqrt(channels) * rng.standard_normal(rotation.shape)
    return {f"{path}.weight": weight[:, :, None, None]}


def _random_lu(rng: np.random.Generator, path: str, channels: int) -> dict[str, np.ndarray]:
    def square() -> np.ndarray:
        # Stored whole: training leaves other numbers than 0 and 1 on the masked sides too.
        return rng.standard_normal((channels, channels)) / channels

    upper_mask = np.triu(np.ones((channels, channels)), 1)
    return {
        f"{path}.w_p": np.eye(channels)[rng.permutation(channels)],
        f"{path}.w_l": square() + np.eye(channels),
        f"{path}.w_u": square(),
        f"{path}.w_s": 0.1 * rng.standard_normal(channels),
        f"{path}.s_sign": rng.choice([-1.0, 1.0], channels),
        f"{path}.u_mask": upper_mask,
        f"{path}.l_mask": upper_mask.T,
        f"{path}.l_eye": np.eye(channels),
    }


def _random_net(rng: np.random.Generator, path: str, inputs: int, width: int, outputs: int) -> dict[str, np.ndarray]:
    return {
        f"{path}.0.weight": rng.standard_normal((width, inputs, 3, 3)) / math.sqrt(9 * inputs),
        f"{path}.0.bias": 0.1 * rng.standard_normal(width),
        f"{path}.2.weight": rng.standard_normal((width, width, 1, 1)) / math.sqrt(width),
        f"{path}.2.bias": 0.1 * rng.standard_normal(width),
        **_random_last(rng, f"{path}.4", width, outputs),
    }


def _random_last(rng: np.random.Generator, path: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {
        f"{path}.conv.weight": 0.3 * rng.standard_normal((outputs, inputs, 3, 3)) / math.sqrt(9 * inputs),
        f"{path}.conv.bias": 0.1 * rng.standard_normal(outputs),
        f"{path}.scale": 0.1 * rng.standard_normal((1, outputs, 1, 1)),
    }


# ---- what the weights compute


def encode(state: State, x: np.ndarray) -> tuple[list[Latent], np.ndarray]:
    """Latents, finest first, and log_prob [N] in nats of images x [N,C,H,W], as that code is fed them."""
    weights = {name.removeprefix("module."): value.numpy().astype(np.float64) for name, value in state.items()}
    levels = 1 + max(int(name.split(".")[1]) for name in weights)
    total = np.zeros(len(x))
    latents = []
    h = np.asarray(x, dtype=np.float64)
    for level in range(levels):
        h = _squeeze(h)
        step = 0
        while f"blocks.{level}.flows.{step}.actnorm.loc" in weights:
            h, log_det = _flow(weights, f"blocks.{level}.flows.{step}", h)
            total = total + log_det
            step += 1
        going_on, leaving = (np.zeros_like(h), h) if level == levels - 1 else np.split(h, 2, axis=1)
        mean, log_sd = np.split(_last(weights, f"blocks.{level}.prior", going_on), 2, axis=1)
        latents.append(Latent(raw=leaving, mean=mean, log_sd=log_sd))
        total = total + latents[-1].log_p
        h = going_on
    return latents, total


def _squeeze(x: np.ndarray) -> np.ndarray:
    n, c, height, width = x.shape
    corners = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return np.stack(corners, axis=2).reshape(n, 4 * c, height // 2, width // 2)


def _flow(weights: Mapping[str, np.ndarray], path: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = x.shape[2] * x.shape[3]
    scale = weights[f"{path}.actnorm.scale"]
    x = scale * (x + weights[f"{path}.actnorm.loc"])
    matrix, log_det = _matrix(weights, f"{path}.invconv")
    x = np.einsum("oi,nihw->nohw", matrix, x)
    total = np.full(len(x), pixels * (np.log(np.abs(scale)).sum() + log_det))
    kept, moved = np.split(x, 2, axis=1)
    out = _net(weights, f"{path}.coupling.net", kept)
    if out.shape[1] == moved.shape[1]:
        return np.concatenate([kept, moved + out], axis=1), total
    log_s, shift = np.split(out, 2, axis=1)
    s = 1 / (1 + np.exp(-(log_s + 2)))
    total = total + np.log(s).reshape(len(x), -1).sum(axis=1)
    return np.concatenate([kept, (moved + shift) * s], axis=1), total


def _matrix(weights: Mapping[str, np.ndarray], path: str) -> tuple[np.ndarray, float]:
    """A 1x1 convolution's matrix and its log|det|."""
    if f"{path}.weight" in weights:
        matrix = weights[f"{path}.weight"][:, :, 0, 0]
        return matrix, float(np.linalg.slogdet(matrix)[1])
    lower = weights[f"{path}.w_l"] * weights[f"{path}.l_mask"] + weights[f"{path}.l_eye"]
    diagonal = np.diag(weights[f"{path}.s_sign"] * np.exp(weights[f"{path}.w_s"]))
    upper = weights[f"{path}.w_u"] * weights[f"{path}.u_mask"] + diagonal
    return weights[f"{path}.w_p"] @ lower @ upper, float(weights[f"{path}.w_s"].sum())


def _net(weights: Mapping[str, np.ndarray], path: str, x: np.ndarray) -> np.ndarray:
    def bias(layer: int) -> np.ndarray:
        return weights[f"{path}.{layer}.bias"][:, None, None]

    hidden = np.maximum(_windows(x, weights[f"{path}.0.weight"], padding=0.0) + bias(0), 0)
    hidden = np.einsum("oi,nihw->nohw", weights[f"{path}.2.weight"][:, :, 0, 0], hidden)
    return _last(weights, f"{path}.4", np.maximum(hidden + bias(2), 0))


def _last(weights: Mapping[str, np.ndarray], path: str, x: np.ndarray) -> np.ndarray:
    """The 3x3 convolution that ends every network: padded with ones, scaled by exp(3 * scale)."""
    out = _windows(x, weights[f"{path}.conv.weight"], padding=1.0) + weights[f"{path}.conv.bias"][:, None, None]
    return out * np.exp(3 * weights[f"{path}.scale"])


def _windows(x: np.ndarray, kernel: np.ndarray, *, padding: float) -> np.ndarray:
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=padding)
    return sum(
        np.einsum("oi,nihw->nohw", kernel[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )
