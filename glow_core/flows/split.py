"""Split: half of the channels leave as latents, seen through a learned prior (Glow, figure 2b)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .conditioner import ZeroConv2d
from .prior import IndependentPrior, standard_normal_log_prob

__all__ = ["Split"]


class Split(nn.Module):
    """Keep the first half of the channels; emit the second as z = (x2 - mean) * exp(-log_scale).

    z is standard normal under the model: the learned prior N(mean, exp(log_scale)^2) is part of the map.

    Args:
        prior: what gives mean and log_scale: a convolution of the half that stays, C/2 channels to C, or a prior of
            shape (C/2, H, W) that does not look at it.
    """

    def __init__(self, prior: ZeroConv2d | IndependentPrior) -> None:
        super().__init__()
        self.prior = prior

    def encode(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """[N,C,H,W] -> what goes on [N,C/2,H,W], z [N,C/2,H,W], and log|det| + log N(z) of shape [N].

        Class labels y [N] matter to an independent prior alone, which also checks them.
        """
        x1, x2 = x.chunk(2, dim=1)
        if isinstance(self.prior, IndependentPrior):
            return x1, *self.prior.encode(x2, y)
        mean, log_scale = self.prior(x1).chunk(2, dim=1)
        z = (x2 - mean) * torch.exp(-log_scale)
        return x1, z, standard_normal_log_prob(z) - log_scale.sum(dim=(1, 2, 3))

    def decode(self, x1: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Return x [N,C,H,W] from what went on and the latent; y as for `encode`."""
        if isinstance(self.prior, IndependentPrior):
            return torch.cat((x1, self.prior.decode(z, y)), dim=1)
        mean, log_scale = self.prior(x1).chunk(2, dim=1)
        return torch.cat((x1, mean + z * torch.exp(log_scale)), dim=1)
