"""The learned prior of the coarsest latent, optionally per class (Glow's `learntop` and `ycond`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .split import standard_normal_log_prob

__all__ = ["TopPrior"]


class TopPrior(nn.Module):
    """N(mean_c, exp(log_scale_c)^2) per channel c, moved by a learned offset per class.

    Args:
        channels: C of the coarsest level.
        num_classes: number of labels, or None for an unconditional model.
    """

    def __init__(self, channels: int, *, num_classes: int | None) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.class_offset = None if num_classes is None else nn.Parameter(torch.zeros(num_classes, 2 * channels))

    def parameters_for(self, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log_scale, [1,C,1,1] or for labels y [N] as [N,C,1,1].

        Raises:
            ConfigError: labels given to an unconditional model, missing for a conditional one, or out of range.
        """
        mean, log_scale = self.mean[None], self.log_scale[None]
        if self.class_offset is None:
            if y is not None:
                raise ConfigError("this model has no classes; leave y out")
        else:
            if y is None:
                raise ConfigError(f"this model needs class labels y in 0..{self.class_offset.shape[0] - 1}")
            if y.numel() and not (int(y.min()) >= 0 and int(y.max()) < self.class_offset.shape[0]):
                raise ConfigError(f"class labels must lie in 0..{self.class_offset.shape[0] - 1}")
            offset_mean, offset_scale = self.class_offset[y].chunk(2, dim=1)
            mean, log_scale = mean + offset_mean, log_scale + offset_scale
        return mean[:, :, None, None], log_scale[:, :, None, None]

    def encode(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> z, standard normal under the model, and log|det| + log N(z) of shape [N]."""
        mean, log_scale = self.parameters_for(y)
        z = (x - mean) * torch.exp(-log_scale)
        log_det = -log_scale.sum(dim=(1, 2, 3)) * x.shape[2] * x.shape[3]
        return z, standard_normal_log_prob(z) + log_det

    def decode(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return x = mean + z * exp(log_scale)."""
        mean, log_scale = self.parameters_for(y)
        return mean + z * torch.exp(log_scale)
