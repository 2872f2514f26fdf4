"""What the code of chaiyujin/glow-pytorch, y0ast/Glow-PyTorch and corenel/pytorch-glow computes, in float64.

Read from their sources.

Works on their state dictionaries directly, channel by channel as they lie there: nothing is folded or re-ordered first.
They differ in names, in what images are fed, in the factor of actnorms' log scales, and in what couplings multiply by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Names:
    """How a project calls things, and what it takes off images in [0,1)."""

    net: str
    conv: str
    linear: str
    lower: str
    upper: str
    top: str
    centre: float
    split: str = "conv"
    start: str = "prior_h"
    classes: str = "project_ycond"
    classifier: str = "project_class"
    actnorm: int = 1
    offset: float = 2.0


CHAIYUJIN = Names(net="f", conv="", linear="", lower="l", upper="u", top="learn_top", centre=0.0)
CORENEL = Names(
    net="f",
    conv="",
    linear="",
    lower="",
    upper="",
    top="learn_top",
    centre=0.0,
    split="conv2d_zeros",
    start="h_top",
    classes="y_emb",
    classifier="classifier",
    actnorm=3,
)
Y0AST = Names(net="block", conv=".conv", linear=".linear", lower="lower", upper="upper", top="learn_top_fn", centre=0.5)


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """Their hyper-parameters; `batch` is the first side of `prior_h`."""

    image: tuple[int, int, int] = (3, 8, 8)
    levels: int = 2
    steps: int = 2
    width: int = 6
    affine: bool = True
    lu: bool = True
    learn_top: bool = True
    classes: int | None = None
    batch: int = 1


def random_state(names: Names, hyper: Hyper, *, seed: int = 0) -> dict[str, Tensor]:
    """A model whose every tensor has moved, float32; what their code masks or multiplies by zeros holds junk."""
    draw = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def normal(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=draw)

    def actnorm(path: str, channels: int) -> None:
        state[f"{path}.bias"] = normal(1, channels, 1, 1, scale=0.2)
        state[f"{path}.logs"] = normal(1, channels, 1, 1, scale=0.2)

    def zeros(path: str, inner: str, inputs: int, outputs: int, *, conv: bool = True) -> None:
        kernel, per_output = ((3, 3), (1, 1)) if conv else ((), ())
        state[f"{path}{inner}.weight"] = normal(outputs, inputs, *kernel, scale=0.3 / math.sqrt(9 * inputs))
        state[f"{path}{inner}.bias"] = normal(outputs, scale=0.2)
        state[f"{path}.logs"] = normal(outputs, *per_output, scale=0.15)

    def invconv(path: str, channels: int) -> None:
        rotation = torch.linalg.qr(torch.randn(channels, channels, generator=draw, dtype=torch.float64))[0]
        if not hyper.lu:
            state[f"{path}.weight"] = rotation.float() + normal(channels, channels, scale=0.1 / math.sqrt(channels))
            return
        permutation, lower, upper = torch.linalg.lu(rotation)
        state[f"{path}.p"] = permutation.float()
        state[f"{path}.sign_s"] = upper.diagonal().sign().float()
        state[f"{path}.log_s"] = upper.diagonal().abs().log().float() + normal(channels, scale=0.05)
        state[f"{path}.{names.lower}"] = lower.float().tril(-1) + normal(channels, channels, scale=0.2 / channels)
        state[f"{path}.{names.upper}"] = upper.float().triu(1) + normal(channels, channels, scale=0.2 / channels)

    channels, height, width = hyper.image
    layer = 0
    for level in range(hyper.levels):
        channels, height, width = 4 * channels, height // 2, width // 2
        for _ in range(hyper.steps):
            layer += 1
            path = f"flow.layers.{layer}"
            actnorm(f"{path}.actnorm", channels)
            invconv(f"{path}.invconv", channels)
            net = f"{path}.{names.net}"
            state[f"{net}.0{names.conv}.weight"] = normal(
                hyper.width, channels // 2, 3, 3, scale=1 / math.sqrt(4.5 * channels)
            )
            actnorm(f"{net}.0.actnorm", hyper.width)
            state[f"{net}.2{names.conv}.weight"] = normal(
                hyper.width, hyper.width, 1, 1, scale=1 / math.sqrt(hyper.width)
            )
            actnorm(f"{net}.2.actnorm", hyper.width)
            zeros(f"{net}.4", names.conv, hyper.width, channels if hyper.affine else channels // 2)
        layer += 2
        if level < hyper.levels - 1:
            zeros(f"flow.layers.{layer - 1}.{names.split}", names.conv, channels // 2, channels)
            channels //= 2
    if hyper.learn_top:
        zeros(names.top, names.conv, 2 * channels, 2 * channels)
    if hyper.classes is not None:
        zeros(names.classes, names.linear, hyper.classes, 2 * channels, conv=False)
        zeros(names.classifier, names.linear, channels, hyper.classes, conv=False)
    state[names.start] = torch.zeros(hyper.batch, 2 * channels, height, width)
    return state


def encode(
    names: Names, state: Mapping[str, Tensor], x: Tensor, y: Tensor | None = None, *, levels: int, steps: int
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Images [N,C,H,W] in [0,1) -> latents made standard normal, latents as that code leaves them, log_prob [N]."""
    weights = {name: tensor.double() for name, tensor in state.items()}
    h = x.double() - names.centre
    log_prob = h.new_zeros(len(h))
    normalised, raw = [], []

    def emit(value: Tensor, mean: Tensor, logs: Tensor) -> Tensor:
        raw.append(value)
        normalised.append((value - mean) / torch.exp(logs))
        density = -0.5 * (math.log(2 * math.pi) + 2 * logs + (value - mean) ** 2 / torch.exp(2 * logs))
        return density.sum(dim=(1, 2, 3))

    layers = iter(range(levels * (steps + 2)))
    for level in range(levels):
        next(layers)
        h = _squeeze(h)
        for _ in range(steps):
            h, log_det = _flow_step(names, weights, f"flow.layers.{next(layers)}", h)
            log_prob = log_prob + log_det
        if level < levels - 1:
            h, leaving = h.chunk(2, dim=1)
            out = _zeros(names, weights, f"flow.layers.{next(layers)}.{names.split}", h)
            log_prob = log_prob + emit(leaving, out[:, 0::2], out[:, 1::2])
    mean, logs = _top(names, weights, y, len(h)).chunk(2, dim=1)
    log_prob = log_prob + emit(h, mean, logs)
    return normalised, raw, log_prob


def _squeeze(h: Tensor) -> Tensor:
    n, c, height, width = h.shape
    corners = h.reshape(n, c, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return corners.reshape(n, 4 * c, height // 2, width // 2)


def _flow_step(names: Names, weights: Mapping[str, Tensor], path: str, h: Tensor) -> tuple[Tensor, Tensor]:
    matrix = _matrix(names, weights, f"{path}.invconv")
    h = torch.einsum("oi,nihw->nohw", matrix, _actnorm(names, weights, f"{path}.actnorm", h))
    constant = names.actnorm * weights[f"{path}.actnorm.logs"].sum() + torch.linalg.slogdet(matrix)[1]
    log_det = constant * h.shape[2] * h.shape[3]
    z1, z2 = h.chunk(2, dim=1)
    out = _net(names, weights, f"{path}.{names.net}", z1)
    if out.shape[1] == z2.shape[1]:
        return torch.cat((z1, z2 + out), dim=1), log_det
    scale = torch.sigmoid(out[:, 1::2] + names.offset)
    return torch.cat((z1, (z2 + out[:, 0::2]) * scale), dim=1), log_det + torch.log(scale).sum(dim=(1, 2, 3))


def _actnorm(names: Names, weights: Mapping[str, Tensor], path: str, h: Tensor) -> Tensor:
    return (h + weights[f"{path}.bias"]) * torch.exp(names.actnorm * weights[f"{path}.logs"])


def _matrix(names: Names, weights: Mapping[str, Tensor], path: str) -> Tensor:
    if f"{path}.weight" in weights:
        return weights[f"{path}.weight"]
    diagonal = weights[f"{path}.sign_s"] * torch.exp(weights[f"{path}.log_s"])
    lower = weights[f"{path}.{names.lower}"].tril(-1) + torch.eye(len(diagonal), dtype=torch.float64)
    return weights[f"{path}.p"] @ lower @ (weights[f"{path}.{names.upper}"].triu(1) + torch.diag(diagonal))


def _net(names: Names, weights: Mapping[str, Tensor], path: str, h: Tensor) -> Tensor:
    h = F.conv2d(h, weights[f"{path}.0{names.conv}.weight"], padding=1)
    h = torch.relu(_actnorm(names, weights, f"{path}.0.actnorm", h))
    h = F.conv2d(h, weights[f"{path}.2{names.conv}.weight"])
    return _zeros(names, weights, f"{path}.4", torch.relu(_actnorm(names, weights, f"{path}.2.actnorm", h)))


def _zeros(names: Names, weights: Mapping[str, Tensor], path: str, h: Tensor) -> Tensor:
    """The 3x3 convolution that training starts from zero."""
    conv = F.conv2d(h, weights[f"{path}{names.conv}.weight"], weights[f"{path}{names.conv}.bias"], padding=1)
    return conv * torch.exp(3 * weights[f"{path}.logs"])


def _top(names: Names, weights: Mapping[str, Tensor], y: Tensor | None, n: int) -> Tensor:
    """Mean and log_scale of the coarsest latent, as two halves [N,2C,H,W]."""
    h = weights[names.start][:1].repeat(n, 1, 1, 1)
    if f"{names.top}.logs" in weights:
        h = _zeros(names, weights, names.top, h)
    if y is None:
        return h
    linear = f"{names.classes}{names.linear}"
    chosen = F.one_hot(y, weights[f"{linear}.weight"].shape[1]).double()
    out = (chosen @ weights[f"{linear}.weight"].T + weights[f"{linear}.bias"]) * torch.exp(
        3 * weights[f"{names.classes}.logs"]
    )
    return h + out[:, :, None, None]
