"""Split: half of the channels leave as latents, seen through a prior the other half predicts (Glow, figure 2b)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .conditioner import ZeroConv2d

__all__ = ["Split", "standard_normal_log_prob"]


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, 1) summed over all but the batch, [N], in nats."""
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(dim=tuple(range(1, z.dim())))


class Split(nn.Module):
    """Keep the first half of the channels; emit the second as z = (x2 - mean(x1)) * exp(-log_scale(x1)).

    z is standard normal under the model: the learned conditional prior N(mean, exp(log_scale)^2) is part of the map.

    Args:
        channels: C, even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.prior = ZeroConv2d(channels // 2, channels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N,C,H,W] -> what goes on [N,C/2,H,W], z [N,C/2,H,W], and log|det| + log N(z) of shape [N]."""
        x1, x2 = x.chunk(2, dim=1)
        mean, log_scale = self.prior(x1).chunk(2, dim=1)
        z = (x2 - mean) * torch.exp(-log_scale)
        return x1, z, standard_normal_log_prob(z) - log_scale.sum(dim=(1, 2, 3))

    def decode(self, x1: Tensor, z: Tensor) -> Tensor:
        """Return x [N,C,H,W] from what went on and the latent."""
        mean, log_scale = self.prior(x1).chunk(2, dim=1)
        return torch.cat((x1, mean + z * torch.exp(log_scale)), dim=1)
