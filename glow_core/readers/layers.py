"""The layers of any Glow, in the one form every reader brings them to.

All is in encoding direction: y = exp(a) * (x + b), then the 1x1 convolution, then the coupling with
(t, h) = net(x1) and x2 -> (x2 + t) * sigmoid(h + 2), or x2 + t where the net gives t alone. Squeeze is
`pixel_unshuffle(2)`. At a split the first half of the channels goes on and the second leaves.

Small tensors are float64, so that nothing is rounded twice; the conditioners' convolutions, nearly all of a model's
bytes, stay as they were stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = [
    "ForeignGlow",
    "IndependentPrior",
    "Level",
    "LowerUpper",
    "Matrix",
    "Net",
    "Norm",
    "Order",
    "ScaledConv",
    "Step",
    "TopPrior",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """Actnorm, y = exp(log_scale) * (x + bias).

    Attributes:
        bias: [C].
        log_scale: [C].
    """

    bias: Tensor
    log_scale: Tensor

    @classmethod
    def identity_but_bias(cls, bias: Tensor) -> Norm:
        """What a plain convolution's bias [C] is."""
        return cls(bias=bias, log_scale=torch.zeros_like(bias))


@dataclass(frozen=True, kw_only=True, eq=False)
class LowerUpper:
    """W = P L (U + diag(sign * exp(log_abs_s))), with L unit lower and U strictly upper triangular.

    Attributes:
        permutation: P [C,C].
        lower: [C,C]; only what is below the diagonal counts.
        upper: [C,C]; only what is above the diagonal counts.
        sign: [C], -1 and 1.
        log_abs_s: [C].
    """

    permutation: Tensor
    lower: Tensor
    upper: Tensor
    sign: Tensor
    log_abs_s: Tensor

    def matrix(self) -> Tensor:
        """Assemble W [C,C] in float64."""
        lower = self.lower.double().tril(-1) + torch.eye(len(self.sign), dtype=torch.float64)
        diagonal = torch.diag(self.sign.double() * torch.exp(self.log_abs_s.double()))
        return self.permutation.double() @ lower @ (self.upper.double().triu(1) + diagonal)

    def with_input_signs(self, signs: Tensor) -> LowerUpper:
        """Return W diag(signs), signs [C] of -1 and 1: what a negative actnorm scale amounts to."""
        return replace(self, upper=self.upper * signs[None, :], sign=self.sign * signs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix:
    """A plain 1x1 convolution; weight: W [C,C], output channels first."""

    weight: Tensor

    def matrix(self) -> Tensor:
        """Return W [C,C] in float64."""
        return self.weight.double()

    def with_input_signs(self, signs: Tensor) -> Matrix:
        """Return W diag(signs), signs [C] of -1 and 1."""
        return Matrix(weight=self.weight * signs[None, :])


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """A fixed permutation: output channel i is input channel order[i]; int64 [C]."""

    order: Tensor

    def matrix(self) -> Tensor:
        """Return the permutation matrix [C,C] in float64."""
        return torch.eye(len(self.order), dtype=torch.float64)[self.order]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaledConv:
    """3x3 convolution of a zero-padded input, (conv(x) + edge + bias) * exp(3 * log_scale).

    Attributes:
        weight: [out,in,3,3].
        bias: [out].
        log_scale: [out], before the factor 3.
        edge: [out,3,3], the weights of one more input channel that is 1 in the padding and 0 inside; None for none.
            A convolution whose padding is the constant v has v times the sum of its weights over the inputs here.
    """

    weight: Tensor
    bias: Tensor
    log_scale: Tensor
    edge: Tensor | None = None

    def outputs(self, order: Sequence[int]) -> ScaledConv:
        """Return the same convolution with its outputs in another order."""
        rows = torch.as_tensor(list(order))
        return ScaledConv(
            weight=self.weight[rows],
            bias=self.bias[rows],
            log_scale=self.log_scale[rows],
            edge=None if self.edge is None else self.edge[rows],
        )

    def deinterleaved(self) -> ScaledConv:
        """Take outputs a0, b0, a1, b1, ... to a0, a1, ..., b0, b1, ..."""
        count = len(self.bias)
        return self.outputs([*range(0, count, 2), *range(1, count, 2)])

    def swapped(self) -> ScaledConv:
        """Exchange the two halves of the outputs."""
        half = len(self.bias) // 2
        return self.outputs([*range(half, 2 * half), *range(half)])

    def with_signs(self, signs: Tensor) -> ScaledConv:
        """Multiply the outputs by signs [out] of -1 and 1."""
        return replace(
            self,
            weight=self.weight * signs.to(self.weight.dtype)[:, None, None, None],
            bias=self.bias * signs,
            edge=None if self.edge is None else self.edge * signs[:, None, None],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A coupling's conditioner: conv3x3, norm, ReLU, conv1x1, norm, ReLU, conv3x3.

    Attributes:
        conv1: [F,C/2,3,3], without bias.
        norm1: [F]; takes a convolution's own bias as `Norm.identity_but_bias`.
        conv2: [F,F,1,1], without bias.
        norm2: [F].
        conv3: gives (t, h), all of t first, or t alone.
        edge1: [F,3,3], the first convolution's weights for the padding, as in `ScaledConv`; None for none.
    """

    conv1: Tensor
    norm1: Norm
    conv2: Tensor
    norm2: Norm
    conv3: ScaledConv
    edge1: Tensor | None = None

    @property
    def affine(self) -> bool:
        """Whether it gives t and h, for an affine coupling, and not t alone."""
        return len(self.conv3.bias) == 2 * self.conv1.shape[1]

    def with_scale_moved(self, by: float) -> Net:
        """Return the same affine network with `by` added to h."""
        bias = self.conv3.bias.double().clone()
        half = len(bias) // 2
        bias[half:] += by * torch.exp(-3 * self.conv3.log_scale[half:].double())
        return replace(self, conv3=replace(self.conv3, bias=bias))


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of flow: actnorm, permutation, coupling."""

    actnorm: Norm
    permutation: LowerUpper | Matrix | Order
    net: Net


@dataclass(frozen=True, kw_only=True, eq=False)
class IndependentPrior:
    """A latent's own normal distribution, whatever the other latents are.

    Attributes:
        mean: [K or 1, C, H or 1, W or 1]; K classes.
        log_scale: the same shape, log of the standard deviation.
    """

    mean: Tensor
    log_scale: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TopPrior:
    """The coarsest latent's normal distribution, one mean and scale a channel.

    Attributes:
        mean: [C].
        log_scale: [C].
        class_offset: [K,2C], added to (mean, log_scale) for each of K classes; None for an unconditional model.
        edge: [2C,3,3], what (mean, log_scale) gain near the border: weights for the padding as in `ScaledConv`.
    """

    mean: Tensor
    log_scale: Tensor
    class_offset: Tensor | None = None
    edge: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """Squeeze, K steps, then what gives the leaving half its distribution; None at the last level.

    Attributes:
        steps: in encoding order.
        split: a convolution of the half that goes on, giving (mean, log_scale), all means first; or a prior of its own.
    """

    steps: tuple[Step, ...]
    split: ScaledConv | IndependentPrior | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignGlow:
    """Another project's Glow.

    Attributes:
        image_size: (H, W).
        n_bits: pixel depth it was trained on.
        centred: fed images minus 0.5, rather than images in [0,1).
        levels: finest first.
        prior: of the coarsest latent. `IndependentPrior` goes with such splits, `TopPrior` with convolutions.
        notes: what was taken for granted or left out, one sentence each.
    """

    image_size: tuple[int, int]
    n_bits: int
    centred: bool
    levels: tuple[Level, ...]
    prior: TopPrior | IndependentPrior
    notes: tuple[str, ...] = ()

    @property
    def affine(self) -> bool:
        """Whether its couplings are affine, by the first."""
        return self.levels[0].steps[0].net.affine

    def with_plain_sigmoid(self) -> ForeignGlow:
        """Take its couplings to multiply by sigmoid(h), where sigmoid(h + 2) is what all others do."""
        levels = tuple(
            replace(level, steps=tuple(replace(step, net=step.net.with_scale_moved(-2.0)) for step in level.steps))
            for level in self.levels
        )
        return replace(self, levels=levels)
