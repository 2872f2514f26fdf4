"""The exact model: nothing but integers, and powers of two that they are shifted by.

h = q * d: every value of the trunk is an integer q times a spacing d, one for all channels of a step. No spacing occurs
where q is computed; they are needed to read latents as standard normal numbers, and for log_prob.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from glow_deploy.folding.arrays import step_path

from .narrow import NarrowNumber, digits_of, edge_kernel

__all__ = [
    "ExactGlow",
    "ExactLevel",
    "ExactPrior",
    "ExactSplit",
    "ExactStep",
    "IntegerConditioner",
    "IntegerConv",
    "Rounded",
    "Shear",
]

ACCUMULATOR = 2**24
"""Up to here float32 holds every integer: no partial sum of a convolution may reach it."""

NARROW_LIMB_BITS = 3
"""Bits of the low part of what a bfloat16 convolution reads of the trunk."""

MOST_LOG_SCALE = 60
"""A split's log-scales are clipped to it, so that their exponentials, over a spacing too, stay finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerConv:
    """A convolution of integers whose sums are divided by powers of two.

    Attributes:
        weight: [out,in,k,k] int64.
        bias: [out] int64, in units of the sum.
        shift: [out] int64: the sum is divided by 2^shift.
        edge: what is added near the border, as in `FoldedConv`, int64; None for none.
        parts: the inputs are taken in so many equal parts, whose sums are rounded one by one; the bias and the edge are
            in the first.
        digits: bits of the digits that the edge is taken in, in convolutions of 16-bit numbers: each is a kernel over a
            plane of ones. None where it is added by itself.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    edge: np.ndarray | None = None
    parts: int = 1
    digits: int | None = None

    def edge_kernels(self) -> list[np.ndarray]:
        """The edge as kernels over planes of ones: [out,3,3] int64 each, for planes of 1, 2^digits, ..."""
        assert self.edge is not None
        assert self.digits is not None
        return digits_of(edge_kernel(self.edge), self.digits)

    def largest_sums(self, largest: int) -> np.ndarray:
        """Bound every partial sum of each output channel, in whatever order it is summed, for inputs up to `largest`.

        Returns:
            [parts,out] int64.
        """
        outputs, inputs = self.weight.shape[:2]
        taps = np.abs(self.weight).reshape(outputs, self.parts, inputs // self.parts, -1).sum(axis=(2, 3)).T
        sums: np.ndarray = taps * largest
        sums[0] += np.abs(self.bias)
        if self.edge is not None and self.digits is not None:
            for place, kernel in enumerate(self.edge_kernels()):
                sums[0] += np.abs(kernel).sum(axis=(1, 2)) << (self.digits * place)
        elif self.edge is not None:
            sums[0] += np.abs(self.edge).max(axis=(1, 2))
        return sums

    def largest_results(self, largest: int) -> np.ndarray:
        """Bound the rounded results, [out] int64, for inputs up to `largest`."""
        scaled = self.largest_sums(largest) / np.exp2(self.shift)
        results: np.ndarray = np.ceil(scaled).sum(axis=0).astype(np.int64)
        return results


def read_bound(largest: int, *, narrow: NarrowNumber | None) -> int:
    """Bound the magnitudes that a weight of a conditioner's first convolution meets, both limbs together.

    In bfloat16 an input is high * 2^3 + low. Rounding takes high to the next multiple, so 1,023 is 1,024 - 1.
    """
    if narrow != "bf16":
        return largest
    unit = 1 << NARROW_LIMB_BITS
    return -(-largest // unit) * unit + unit // 2


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """How integers of the trunk become a convolution's input: divided by 2^shift, rounded, clipped.

    Attributes:
        shift: >= 0.
        largest: the clipped value's magnitude.
    """

    shift: int
    largest: int


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerConditioner:
    """conv3x3, conv1x1, conv3x3 with activations 0 .. `largest` between them.

    The last one's rounded sums are added to the other half of the trunk.

    Attributes:
        input: of the first convolution.
        largest: of the hidden activations, which are rounded and clipped.
        conv1: first convolution.
        conv2: second.
        conv3: third.
        narrow: the first two leave their sums in bfloat16 or float16, rounded once, before they are clipped: what a
            convolution typed so does by itself.
    """

    input: Rounded
    largest: int
    narrow: NarrowNumber | None
    conv1: IntegerConv
    conv2: IntegerConv
    conv3: IntegerConv

    @property
    def largest_input(self) -> int:
        """What bounds the first convolution's input: |high| + |low| where it is taken as two limbs."""
        return read_bound(self.input.largest, narrow=self.narrow)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shear:
    """One half of the channels += a linear function of the other, rounded.

    The half that is read is clipped to `limit` and taken as two limbs, high * 2^k and low: each product sum stays
    below 2^24. Clipped or not, it is a function of that half alone, so the way back subtracts the same integers.

    Attributes:
        lower: it adds to the second half; otherwise to the first.
        conv: [C/2,C/2,1,1]; applied to either limb. The bias goes with the high one, in units of the high sum.
    """

    lower: bool
    conv: IntegerConv


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactStep:
    """One step of flow: six shears or more in place of the 1x1 convolution, then the coupling.

    Attributes:
        shears: in encoding order, the last one lower.
        conditioner: reads the first half, adds to the second.
        spacing: h = q * spacing after the step.
    """

    shears: tuple[Shear, ...]
    conditioner: IntegerConditioner
    spacing: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactPrior:
    """A latent's normal distribution, from constants.

    Attributes:
        mean: [K or 1,C,H or 1,W or 1] int64: subtracted from q.
        log_scale: same shape, float64: of h.
    """

    mean: np.ndarray
    log_scale: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactSplit:
    """A latent's normal distribution, from the half that stays.

    Attributes:
        input: of the convolution.
        conv: gives (mean, log_scale): the first half of the results is rounded and subtracted from q, the second is the
            log-scale of h as it stands, an integer over a power of two.
    """

    input: Rounded
    conv: IntegerConv


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactLevel:
    """K steps of flow after a squeeze.

    Attributes:
        shape: (C, H, W) inside the level.
        steps: in encoding order.
        split: of the second half, which leaves; None at the last level.
        sign: [C/2] or, at the last level, [C] int64, 1 or -1: the latent is sign * q - mean. A shear has determinant 1;
            where that of a 1x1 convolution is negative, the last channel is carried with the other sign.
    """

    shape: tuple[int, int, int]
    steps: tuple[ExactStep, ...]
    split: ExactSplit | ExactPrior | None
    sign: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactGlow:
    """A whole model.

    Attributes:
        image_shape: (C, H, W).
        n_bits: pixel depth.
        fraction_bits: F: a pixel step is 2^F steps of the first grid.
        limb_bits: k of the shears' low limb.
        limit: |q| <= limit at every checked place; an image that passes it is not in range.
        levels: finest first.
        prior: of the coarsest latent.
        num_classes: for a class-conditional prior, else None.
    """

    image_shape: tuple[int, int, int]
    n_bits: int
    fraction_bits: int
    limb_bits: int
    limit: int
    levels: tuple[ExactLevel, ...]
    prior: ExactPrior
    num_classes: int | None

    @property
    def dims(self) -> int:
        """D, the number of values in one image."""
        channels, height, width = self.image_shape
        return channels * height * width

    @property
    def narrow(self) -> NarrowNumber | None:
        """The 16-bit number that conditioners' hidden sums are rounded to; it is the same everywhere."""
        return self.levels[0].steps[0].conditioner.narrow if self.levels else None

    @property
    def grid_bits(self) -> int:
        """x is a multiple of 2^-grid_bits."""
        return self.n_bits + self.fraction_bits

    @property
    def largest_limb(self) -> int:
        """The magnitude of a limb of a shear's input."""
        return max(self.limit >> self.limb_bits, 1 << (self.limb_bits - 1))

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 to zL."""
        return tuple(
            (shape[0] // 2, shape[1], shape[2]) if level.split is not None else shape
            for level in self.levels
            for shape in (level.shape,)
        )

    @property
    def spacings(self) -> tuple[float, ...]:
        """h = q * spacing of the latent of each level."""
        return tuple(level.steps[-1].spacing for level in self.levels)

    def log_volume(self) -> float:
        """Return the sum of log(spacing of a latent / spacing of x) over all D values, nats.

        A bijection of integers changes no count, so all that the float model's log-determinants say is in this number.
        """
        total = self.dims * self.grid_bits * float(np.log(2.0))
        for shape, spacing in zip(self.latent_shapes, self.spacings, strict=True):
            total += float(np.prod(shape)) * float(np.log(spacing))
        return total

    def convolutions(self) -> Iterator[tuple[str, IntegerConv, int]]:
        """Yield path, convolution and the largest input of every convolution."""
        for index, level in enumerate(self.levels, start=1):
            for number, step in enumerate(level.steps, start=1):
                path = step_path(index, number)
                for count, shear in enumerate(step.shears, start=1):
                    yield f"{path}/invconv/shear{count}", shear.conv, self.largest_limb
                net = step.conditioner
                yield f"{path}/coupling/conv1", net.conv1, net.largest_input
                yield f"{path}/coupling/conv2", net.conv2, net.largest
                yield f"{path}/coupling/conv3", net.conv3, net.largest
            if isinstance(level.split, ExactSplit):
                yield f"level{index}/split/conv", level.split.conv, level.split.input.largest
