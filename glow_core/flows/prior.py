"""Learned priors: of the coarsest latent, optionally per class (Glow's `learntop` and `ycond`), or of any latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from glow_core.errors import ConfigError

from .edge import edge_map

__all__ = ["IndependentPrior", "TopPrior", "standard_normal_log_prob"]


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, 1) summed over all but the batch, [N], in nats."""
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(dim=tuple(range(1, z.dim())))


class TopPrior(nn.Module):
    """N(mean_c, exp(log_scale_c)^2) per channel c, moved by a learned offset per class.

    Args:
        channels: C of the coarsest level.
        num_classes: number of labels, or None for an unconditional model.
        edge_bias: mean and log_scale differ along the border.
    """

    def __init__(self, channels: int, *, num_classes: int | None, edge_bias: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.mean = nn.Parameter(torch.zeros(channels, dtype=torch.float32))
        self.log_scale = nn.Parameter(torch.zeros(channels, dtype=torch.float32))
        self.class_offset = (
            None if num_classes is None else nn.Parameter(torch.zeros(num_classes, 2 * channels, dtype=torch.float32))
        )
        self.edge = nn.Parameter(torch.zeros(2 * channels, 3, 3, dtype=torch.float32)) if edge_bias else None

    def parameters_for(self, y: Tensor | None, *, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return mean and log_scale, [1,C,1,1] or for labels y [N] as [N,C,1,1]; with an edge at every pixel of (H,W).

        Raises:
            ConfigError: labels given to an unconditional model, missing for a conditional one, or out of range.
        """
        _check_labels(y, self.num_classes)
        mean, log_scale = self.mean[None, :, None, None], self.log_scale[None, :, None, None]
        if self.class_offset is not None:
            offset_mean, offset_scale = self.class_offset[y][:, :, None, None].chunk(2, dim=1)
            mean, log_scale = mean + offset_mean, log_scale + offset_scale
        if self.edge is not None:
            edge_mean, edge_scale = edge_map(self.edge, *size).chunk(2, dim=1)
            mean, log_scale = mean + edge_mean, log_scale + edge_scale
        return mean, log_scale

    def encode(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> z, standard normal under the model, and log|det| + log N(z) of shape [N]."""
        mean, log_scale = self.parameters_for(y, size=_size(x))
        z = (x - mean) * torch.exp(-log_scale)
        positions = x.shape[1:].numel() // log_scale.shape[1:].numel()
        return z, standard_normal_log_prob(z) - log_scale.sum(dim=(1, 2, 3)) * positions

    def decode(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return x = mean + z * exp(log_scale)."""
        mean, log_scale = self.parameters_for(y, size=_size(z))
        return mean + z * torch.exp(log_scale)


class IndependentPrior(nn.Module):
    """N(mean, exp(log_scale)^2) at every channel and position of a latent, for every class one.

    Args:
        shape: (C, H, W) of the latent.
        num_classes: number of labels, or None for an unconditional model.
    """

    def __init__(self, shape: tuple[int, int, int], *, num_classes: int | None) -> None:
        super().__init__()
        self.num_classes = num_classes
        kinds = 1 if num_classes is None else num_classes
        self.mean = nn.Parameter(torch.zeros(kinds, *shape, dtype=torch.float32))
        self.log_scale = nn.Parameter(torch.zeros(kinds, *shape, dtype=torch.float32))

    def parameters_for(self, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log_scale, [1,C,H,W] or for labels y [N] as [N,C,H,W].

        Raises:
            ConfigError: labels given to an unconditional model, missing for a conditional one, or out of range.
        """
        _check_labels(y, self.num_classes)
        return (self.mean, self.log_scale) if y is None else (self.mean[y], self.log_scale[y])

    def encode(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> z, standard normal under the model, and log|det| + log N(z) of shape [N]."""
        mean, log_scale = self.parameters_for(y)
        z = (x - mean) * torch.exp(-log_scale)
        return z, standard_normal_log_prob(z) - log_scale.sum(dim=(1, 2, 3))

    def decode(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return x = mean + z * exp(log_scale)."""
        mean, log_scale = self.parameters_for(y)
        return mean + z * torch.exp(log_scale)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


def _check_labels(y: Tensor | None, num_classes: int | None) -> None:
    if num_classes is None:
        if y is not None:
            raise ConfigError("this model has no classes; leave y out")
        return
    if y is None:
        raise ConfigError(f"this model needs class labels y in 0..{num_classes - 1}")
    if y.numel() and not (int(y.min()) >= 0 and int(y.max()) < num_classes):
        raise ConfigError(f"class labels must lie in 0..{num_classes - 1}")
