"""The exact model in NumPy, integers as int64: the reference that every backend is held to, bit for bit.

It shares no code with the graphs. Convolutions run in float64, where sums of integers below 2^53 are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glow_deploy.folding.arrays import edge_map
from glow_deploy.graphs.rounding import round_values

from .arrays import (
    MOST_LOG_SCALE,
    ExactGlow,
    ExactPrior,
    ExactSplit,
    ExactStep,
    IntegerConditioner,
    IntegerConv,
    Rounded,
    Shear,
)
from .conditioners import Convolve, convolve

__all__ = ["ExactLatents", "ExactModel"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactLatents:
    """What encoding gives.

    Attributes:
        z: z1 ... zL, int64.
        normal: the same as standard normal numbers, float64.
        log_prob: [N] float64, nats.
        in_range: [N] bool.
    """

    z: tuple[np.ndarray, ...]
    normal: tuple[np.ndarray, ...]
    log_prob: np.ndarray
    in_range: np.ndarray


class ExactModel:
    """Runs an exact model.

    Args:
        model: the integers.
        convolve: another way to convolve integers exactly, as `conditioners.convolve` does.
    """

    def __init__(self, model: ExactGlow, *, convolve: Convolve = convolve) -> None:
        self._model, self._convolve = model, convolve

    @property
    def grid_bits(self) -> int:
        """x is a multiple of 2^-grid_bits."""
        return self._model.grid_bits

    def encode(self, x: np.ndarray, y: np.ndarray | None = None) -> ExactLatents:
        """Encode images [N,C,H,W] in [0,1)."""
        model = self._model
        q = self.pixels(x)
        largest = _largest(q)
        z, normal = [], []
        log_prob = np.full(len(x), model.log_volume() - 0.5 * model.dims * np.log(2 * np.pi))
        for level in model.levels:
            q = self.squeeze(q)
            for step in level.steps:
                q = self.step(q, step)
                largest = np.maximum(largest, _largest(q))
            kept, emitted = _halves(q)
            prior = model.prior if level.split is None else level.split
            mean, log_scale = self._distribution(prior, kept, y)
            spacing = level.steps[-1].spacing
            z.append(level.sign[:, None, None] * (q if level.split is None else emitted) - mean)
            normal.append(z[-1] * spacing * np.exp(-log_scale))
            log_scale = np.broadcast_to(log_scale, z[-1].shape)
            log_prob -= 0.5 * (normal[-1] ** 2).sum(axis=(1, 2, 3)) + log_scale.sum(axis=(1, 2, 3))
            q = kept
        return ExactLatents(z=tuple(z), normal=tuple(normal), log_prob=log_prob, in_range=largest <= model.limit)

    def decode(
        self, z: Sequence[np.ndarray], y: np.ndarray | None = None, *, normal: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode latents.

        Args:
            z: z1 ... zL: integers, or standard normal numbers.
            y: class labels [N].
            normal: z are standard normal numbers; they are rounded to the grid.

        Returns:
            x [N,C,H,W] float64, multiples of the first grid's spacing, and in_range [N].
        """
        model = self._model
        q = np.empty(0)
        largest = np.zeros(len(z[0]), dtype=np.int64)
        for level, latent in zip(reversed(model.levels), reversed(z), strict=True):
            prior = model.prior if level.split is None else level.split
            mean, log_scale = self._distribution(prior, q, y)
            given = latent * np.exp(log_scale) / level.steps[-1].spacing if normal else latent
            emitted = level.sign[:, None, None] * (np.rint(given).astype(np.int64) + mean)
            q = emitted if level.split is None else np.concatenate((q, emitted), axis=1)
            for step in reversed(level.steps):
                largest = np.maximum(largest, _largest(q))
                q = self.unstep(q, step)
            q = _unsqueeze(q)
        largest = np.maximum(largest, _largest(q))
        x = (q + 2 ** (model.grid_bits - 1)) / 2.0**model.grid_bits
        return x, largest <= model.limit

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Put images in [0,1) on the first grid, its middle at 0."""
        bits = self._model.grid_bits
        integers: np.ndarray = np.floor(x.astype(np.float64) * 2.0**bits).astype(np.int64) - 2 ** (bits - 1)
        return integers

    def squeeze(self, q: np.ndarray) -> np.ndarray:
        """[N,C,H,W] -> [N,4C,H/2,W/2], channel (2i+j)*C+c."""
        n, channels, height, width = q.shape
        blocks = q.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, 4 * channels, height // 2, width // 2)

    def step(self, q: np.ndarray, step: ExactStep) -> np.ndarray:
        """Run one step of flow on integers [N,C,H,W]."""
        first, second = self.shear(q, step.shears)
        return np.concatenate((first, second + self.conditioner(first, step.conditioner)), axis=1)

    def shear(self, q: np.ndarray, shears: Sequence[Shear]) -> tuple[np.ndarray, np.ndarray]:
        """Run shears, and return both halves."""
        first, second = _halves(q)
        for shear in shears:
            if shear.lower:
                second = second + self._shift(first, shear.conv)
            else:
                first = first + self._shift(second, shear.conv)
        return first, second

    def unstep(self, q: np.ndarray, step: ExactStep) -> np.ndarray:
        """Run one step of flow backwards."""
        first, second = _halves(q)
        second = second - self.conditioner(first, step.conditioner)
        for shear in reversed(step.shears):
            if shear.lower:
                second = second - self._shift(first, shear.conv)
            else:
                first = first - self._shift(second, shear.conv)
        return np.concatenate((first, second), axis=1)

    def conditioner(self, q: np.ndarray, net: IntegerConditioner) -> np.ndarray:
        """Return what a conditioner adds, int64."""
        hidden = read(q, net.input)
        for conv in (net.conv1, net.conv2):
            sums = scaled_sums(hidden, conv, self._convolve)[0]
            if net.narrow:
                sums = round_values(sums, net.narrow)
            hidden = np.rint(np.clip(sums, 0, net.largest)).astype(np.int64)
        total = np.zeros((1, 1, 1, 1), dtype=np.int64)
        for part in scaled_sums(hidden, net.conv3, self._convolve):
            total = total + np.rint(part).astype(np.int64)
        return total

    def _shift(self, q: np.ndarray, conv: IntegerConv) -> np.ndarray:
        """Both limbs of a shear, each rounded by itself."""
        unit = 2**self._model.limb_bits
        clipped = np.clip(q, -self._model.limit, self._model.limit)
        high = np.rint(clipped / unit).astype(np.int64)
        low = clipped - high * unit
        scale = np.exp2(conv.shift.astype(np.float64))[:, None, None]
        upper = (self._convolve(high, conv.weight) + conv.bias[:, None, None]) * unit / scale
        lower = self._convolve(low, conv.weight) / scale
        result: np.ndarray = np.rint(upper).astype(np.int64) + np.rint(lower).astype(np.int64)
        return result

    def _distribution(
        self, prior: ExactPrior | ExactSplit, kept: np.ndarray, y: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(prior, ExactPrior):
            if len(prior.mean) == 1:
                return prior.mean, prior.log_scale
            assert y is not None
            return prior.mean[y], prior.log_scale[y]
        mean, log_scale = _halves(scaled_sums(read(kept, prior.input), prior.conv, self._convolve)[0])
        return np.rint(mean).astype(np.int64), np.clip(log_scale, -MOST_LOG_SCALE, MOST_LOG_SCALE)


def read(q: np.ndarray, rounding: Rounded) -> np.ndarray:
    """Integers of the trunk as a convolution takes them."""
    rounded = np.rint(q / 2.0**rounding.shift)
    return np.clip(rounded, -rounding.largest, rounding.largest).astype(np.int64)


def scaled_sums(a: np.ndarray, conv: IntegerConv, convolve: Convolve = convolve) -> list[np.ndarray]:
    """The sums of each part of a convolution's inputs, divided by their power of two: exact in float64."""
    scale = np.exp2(conv.shift.astype(np.float64))[:, None, None]
    results = []
    for number, (values, weight) in enumerate(
        zip(np.split(a, conv.parts, axis=1), np.split(conv.weight, conv.parts, axis=1), strict=True)
    ):
        total = convolve(values, weight)
        if number == 0:
            total += conv.bias[:, None, None]
            if conv.edge is not None:
                total += edge_map(conv.edge, a.shape[2], a.shape[3])
        results.append(total / scale)
    return results


def _largest(q: np.ndarray) -> np.ndarray:
    largest: np.ndarray = np.abs(q).max(axis=(1, 2, 3))
    return largest


def _halves(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = q.shape[1] // 2
    return q[:, :half], q[:, half:]


def _unsqueeze(q: np.ndarray) -> np.ndarray:
    n, channels, height, width = q.shape
    blocks = q.reshape(n, 2, 2, channels // 4, height, width).transpose(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, channels // 4, 2 * height, 2 * width)
