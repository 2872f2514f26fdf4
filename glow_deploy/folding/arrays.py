"""The folded model: plain arrays, no torch.

Everything is folded in float64. The trunk (1x1 convolutions, split and top prior) stays in float64; the conditioners'
weights, nearly all of a model's bytes, are rounded to float32 as soon as they are folded, as every graph stores them.

Every layer with a constant effect has gone into its neighbour: actnorm and the 1x1 convolution are one convolution each
way, the conditioner's actnorms and output scales are in its weights, and all constant log-determinants are one number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = [
    "FoldedConditioner",
    "FoldedConv",
    "FoldedGlow",
    "FoldedLevel",
    "FoldedPrior",
    "FoldedStep",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedConv:
    """A stride-1 convolution, zero padded to keep the size.

    Attributes:
        weight: [out,in,k,k] float64, or float32 inside a conditioner.
        bias: [out] of the same dtype.
        edge: what is added to the result near the border, beyond the bias: [out, min(H,3), min(W,3)] of the same dtype,
            for the first row, every inner row and the last row, and columns likewise (see `edge_map`). None for none.
    """

    weight: np.ndarray
    bias: np.ndarray
    edge: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedConditioner:
    """conv3x3, ReLU, conv1x1, ReLU, conv3x3.

    The last gives the shift t, or (t, h + 2) stacked along the channels for an affine coupling.
    """

    conv1: FoldedConv
    conv2: FoldedConv
    conv3: FoldedConv


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedStep:
    """One step of flow.

    Attributes:
        encode: 1x1 convolution with W diag(exp(a)), then its bias: actnorm and permutation in encoding direction.
        decode: the exact inverse of `encode`, taken in float64.
        conditioner: of the coupling that follows.
    """

    encode: FoldedConv
    decode: FoldedConv
    conditioner: FoldedConditioner


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedPrior:
    """A latent's normal distribution: of the coarsest, or of any level whose prior is independent.

    Attributes:
        mean: [K or 1, C, H or 1, W or 1] float64; K classes.
        log_scale: same shape, log of the standard deviation.
    """

    mean: np.ndarray
    log_scale: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedLevel:
    """K steps of flow after a squeeze.

    Attributes:
        shape: (C, H, W) inside the level.
        steps: in encoding order.
        split: what gives (mean, log_scale) of the emitted half: a 3x3 convolution of the kept half, or a prior of its
            own; None at the last level.
    """

    shape: tuple[int, int, int]
    steps: tuple[FoldedStep, ...]
    split: FoldedConv | FoldedPrior | None


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedGlow:
    """A whole model.

    Attributes:
        image_shape: (C, H, W).
        n_bits: pixel depth it was trained on.
        coupling: `affine` or `additive`.
        bounded_scale: affine scale (1 + sigmoid)/2 instead of sigmoid.
        levels: finest first.
        prior: of the coarsest latent.
        num_classes: for a class-conditional prior, else None.
        log_det: sum over all actnorms and 1x1 convolutions of their log-determinants times H*W, nats.
    """

    image_shape: tuple[int, int, int]
    n_bits: int
    coupling: Literal["affine", "additive"]
    bounded_scale: bool
    levels: tuple[FoldedLevel, ...]
    prior: FoldedPrior
    num_classes: int | None
    log_det: float

    @property
    def dims(self) -> int:
        """D, the number of values in one image."""
        channels, height, width = self.image_shape
        return channels * height * width

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 to zL."""
        return tuple(
            (shape[0] // 2, shape[1], shape[2]) if level.split is not None else shape
            for level in self.levels
            for shape in (level.shape,)
        )

    def named_arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield every array under the path its graph initializer has, encoding direction first."""
        for index, level in enumerate(self.levels, start=1):
            for number, step in enumerate(level.steps, start=1):
                path = step_path(index, number)
                yield f"{path}/invconv/weight", step.encode.weight
                yield f"{path}/invconv/bias", step.encode.bias
                yield f"{path}/invconv/inverse_weight", step.decode.weight
                yield f"{path}/invconv/inverse_bias", step.decode.bias
                for name in ("conv1", "conv2", "conv3"):
                    yield from _named_conv(f"{path}/coupling/{name}", getattr(step.conditioner, name))
            if isinstance(level.split, FoldedPrior):
                yield f"level{index}/split/mean", level.split.mean
                yield f"level{index}/split/log_scale", level.split.log_scale
            elif level.split is not None:
                yield from _named_conv(f"level{index}/split/conv", level.split)
        yield "prior/mean", self.prior.mean
        yield "prior/log_scale", self.prior.log_scale

    def model_id(self) -> str:
        """Return a sha256 that the encoder and the decoder of one model share, and no other model has."""
        facts = [self.image_shape, self.n_bits, self.coupling, self.bounded_scale, self.num_classes, len(self.levels)]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for name, array in self.named_arrays():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array, dtype=np.float32).data)
        return digest.hexdigest()


def step_path(level: int, step: int) -> str:
    """Return e.g. `level2/step07`; both count from 1."""
    return f"level{level}/step{step:02d}"


def edge_map(edge: np.ndarray, height: int, width: int) -> np.ndarray:
    """Spread the border table of a `FoldedConv` over an image.

    Args:
        edge: [out, min(H,3), min(W,3)].
        height: H.
        width: W.

    Returns:
        [out,H,W].
    """
    spread: np.ndarray = edge[:, edge_index(height)][:, :, edge_index(width)]
    return spread


def edge_index(side: int) -> np.ndarray:
    """Return which row (or column) of a border table each of `side` rows (or columns) takes, int64 [side]."""
    index = np.minimum(np.arange(side), 1)
    index[-1] = min(side, 3) - 1
    return index


def _named_conv(path: str, conv: FoldedConv) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{path}/weight", conv.weight
    yield f"{path}/bias", conv.bias
    if conv.edge is not None:
        yield f"{path}/edge", conv.edge
