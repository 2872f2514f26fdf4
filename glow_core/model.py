"""The multi-scale Glow (Kingma & Dhariwal 2018, figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from glow_core.flows.conditioner import ZeroConv2d

from .config import GlowConfig
from .errors import ConfigError
from .flows import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    FixedPermutation,
    IndependentPrior,
    InvertibleConv1x1,
    InvertibleConv1x1LU,
    Mixing,
    Split,
    Squeeze,
    TopPrior,
)

__all__ = ["FlowStep", "Glow", "Level"]


def _permutation(channels: int, kind: str) -> Bijection:
    if kind == "lu":
        return InvertibleConv1x1LU(channels)
    if kind == "plain":
        return InvertibleConv1x1(channels)
    return FixedPermutation(channels, kind="reverse" if kind == "reverse" else "shuffle")


def _split(shape: tuple[int, int, int], *, config: GlowConfig) -> Split:
    channels, height, width = shape
    if config.prior == "independent":
        return Split(IndependentPrior((channels // 2, height, width), num_classes=config.num_classes))
    return Split(ZeroConv2d(channels // 2, channels, edge_bias=config.edge_bias))


def _top_prior(shape: tuple[int, int, int], *, config: GlowConfig) -> TopPrior | IndependentPrior:
    if config.prior == "independent":
        return IndependentPrior(shape, num_classes=config.num_classes)
    return TopPrior(shape[0], num_classes=config.num_classes, edge_bias=config.edge_bias)


class FlowStep(Bijection):
    """Actnorm, then a channel permutation, then a coupling (figure 2a).

    Args:
        channels: C inside the level.
        config: for the kind of permutation and coupling.
    """

    def __init__(self, channels: int, *, config: GlowConfig) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.permutation = _permutation(channels, config.permutation)
        self.coupling: Bijection
        if config.coupling == "affine":
            self.coupling = AffineCoupling(
                channels, width=config.width, bounded=config.bounded_scale, edge_bias=config.edge_bias
            )
        else:
            self.coupling = AdditiveCoupling(channels, width=config.width, edge_bias=config.edge_bias)

    def layers(self) -> tuple[Bijection, ...]:
        """Return the step's bijections in encoding order; actnorm and a 1x1 convolution count as one."""
        if isinstance(self.permutation, (InvertibleConv1x1, InvertibleConv1x1LU)):
            return Mixing(self.actnorm, self.permutation), self.coupling
        return self.actnorm, self.permutation, self.coupling

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> the same shape, and the sum of the log-determinants."""
        total = x.new_zeros(x.shape[0])
        for layer in self.layers():
            x, log_det = layer.encode(x)
            total = total + log_det
        return x, total

    def decode(self, y: Tensor) -> Tensor:
        """The inverses in reverse order."""
        for layer in reversed(self.layers()):
            y = layer.decode(y)
        return y


class Level(nn.Module):
    """Squeeze, K steps of flow, and a split unless it is the last level.

    Args:
        shape: (C, H, W) after the squeeze.
        config: for the number and kind of steps, and the kind of split.
        last: no split.
    """

    def __init__(self, shape: tuple[int, int, int], *, config: GlowConfig, last: bool) -> None:
        super().__init__()
        self.squeeze = Squeeze()
        self.steps = nn.ModuleList(FlowStep(shape[0], config=config) for _ in range(config.steps))
        self.split = None if last else _split(shape, config=config)

    def flow_steps(self) -> list[FlowStep]:
        """Return the K steps in encoding order."""
        return [step for step in self.steps if isinstance(step, FlowStep)]


class Glow(nn.Module):
    """An exact-likelihood image model with an exact inverse.

    Images x are float, [N,C,H,W], in [0,1): pixel p of n_bits appears as (p+u)/2^n_bits with u in [0,1). The
    centring by 0.5 is inside. Latents z1 (finest) to zL (coarsest) are standard normal under the model. Works in
    float32 and, after `.double()`, in float64.

    Args:
        config: sizes and kinds of the parts.
    """

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.config = config
        last = config.levels - 1
        self.levels = nn.ModuleList(
            Level(shape, config=config, last=index == last) for index, shape in enumerate(config.level_shapes)
        )
        self.prior = _top_prior(config.level_shapes[-1], config=config)

    def flow_levels(self) -> list[Level]:
        """Return the L levels, finest first."""
        return [level for level in self.levels if isinstance(level, Level)]

    def encode(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        through: Callable[[Level, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """Map images to latents.

        Args:
            x: [N,C,H,W] in [0,1).
            y: class labels [N] int64, for class-conditional models only.
            through: takes [N,C,H,W] through the steps of a level and returns it with their log-determinants' sum [N];
                for training that keeps less for its backward pass. None: one step after the other.

        Returns:
            [z1, ..., zL] with the shapes of `config.latent_shapes`, and log_prob [N] in nats: the log density of x in
            [0,1)^D. bits/dim = n_bits - log_prob / (D ln 2).
        """
        if x.shape[1:] != (self.config.channels, *self.config.image_size):
            wanted = (self.config.channels, *self.config.image_size)
            raise ConfigError(f"images have shape {tuple(x.shape[1:])}; this model takes {wanted}")
        h = x - 0.5
        log_prob = h.new_zeros(h.shape[0])
        latents: list[Tensor] = []
        for level in self.flow_levels():
            h, _ = level.squeeze.encode(h)
            if through is not None:
                h, log_det = through(level, h)
                log_prob = log_prob + log_det
            else:
                for step in level.flow_steps():
                    h, log_det = step.encode(h)
                    log_prob = log_prob + log_det
            if level.split is not None:
                h, z, log_p = level.split.encode(h, y)
                latents.append(z)
                log_prob = log_prob + log_p
        z, log_p = self.prior.encode(h, y)
        return [*latents, z], log_prob + log_p

    def decode(self, z: Sequence[Tensor], y: Tensor | None = None) -> Tensor:
        """Map latents back to images: the exact inverse of `encode`.

        Args:
            z: [z1, ..., zL] with the shapes of `config.latent_shapes`.
            y: class labels [N] int64, for class-conditional models only.

        Returns:
            x [N,C,H,W]; not clamped, and possibly non-finite for latents far from any data.
        """
        shapes = [tuple(part.shape[1:]) for part in z]
        if shapes != list(self.config.latent_shapes):
            raise ConfigError(f"latents have shapes {shapes}; this model takes {list(self.config.latent_shapes)}")
        h = self.prior.decode(z[-1], y)
        for index, level in reversed(list(enumerate(self.flow_levels()))):
            if level.split is not None:
                h = level.split.decode(h, z[index], y)
            for step in reversed(level.flow_steps()):
                h = step.decode(h)
            h = level.squeeze.decode(h)
        return h + 0.5

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the natural log density [N] of images x in [0,1)^D; arguments as for `encode`."""
        return self.encode(x, y)[1]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Same as `log_prob`: what training minimises, in the form distributed wrappers can call."""
        return self.log_prob(x, y)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        temperature: float = 0.7,
        generator: torch.Generator | None = None,
        y: Tensor | None = None,
    ) -> Tensor:
        """Draw n images; `temperature` multiplies the standard deviation of every latent (Glow, section 6).

        Returns:
            x [n,C,H,W], not clamped; a draw can be non-finite, which the caller has to look for.
        """
        like = self.prior.mean
        z = [
            temperature * torch.randn((n, *shape), dtype=like.dtype, device=like.device, generator=generator)
            for shape in self.config.latent_shapes
        ]
        return self.decode(z, y)

    @torch.no_grad()
    def initialize(self, x: Tensor, y: Tensor | None = None) -> None:
        """Set every actnorm that has not been set yet from one batch of images (Glow, section 3.1)."""
        mode = self.training
        self.train()
        self.encode(x, y)
        self.train(mode)

    @property
    def is_initialized(self) -> bool:
        """True once every actnorm has seen its first batch."""
        return all(bool(module.initialized) for module in self.modules() if isinstance(module, ActNorm))
