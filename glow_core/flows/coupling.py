"""Affine and additive coupling (Kingma & Dhariwal 2018, section 3.3 and table 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Bijection
from .conditioner import Conditioner

__all__ = ["AdditiveCoupling", "AffineCoupling"]


class AdditiveCoupling(Bijection):
    """y1 = x1, y2 = x2 + t with t = conditioner(x1); x1 and x2 are the halves of the channels.

    Args:
        channels: C, even.
        width: hidden channels of the conditioner.
        edge_bias: the conditioner sees where the image ends.
    """

    def __init__(self, channels: int, *, width: int, edge_bias: bool = False) -> None:
        super().__init__()
        self.conditioner = Conditioner(channels // 2, channels // 2, width=width, edge_bias=edge_bias)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Volume-preserving: the log-determinant is 0."""
        x1, x2 = x.chunk(2, dim=1)
        return torch.cat((x1, x2 + self.conditioner(x1)), dim=1), x.new_zeros(())

    def decode(self, y: Tensor) -> Tensor:
        """x2 = y2 - t."""
        y1, y2 = y.chunk(2, dim=1)
        return torch.cat((y1, y2 - self.conditioner(y1)), dim=1)


class AffineCoupling(Bijection):
    """y1 = x1, y2 = (x2 + t) * s with (t, h) = conditioner(x1); x1 and x2 are the halves of the channels.

    s = sigmoid(h + 2), or (1 + sigmoid(h + 2)) / 2 where bounded, so that the inverse never stretches by more than 2
    (the stable variant of Behrmann et al. 2021).

    Args:
        channels: C, even.
        width: hidden channels of the conditioner.
        bounded: s in (0.5, 1) instead of (0, 1).
        edge_bias: the conditioner sees where the image ends.
    """

    def __init__(self, channels: int, *, width: int, bounded: bool, edge_bias: bool = False) -> None:
        super().__init__()
        self.bounded = bounded
        self.conditioner = Conditioner(channels // 2, channels, width=width, edge_bias=edge_bias)

    def _log_scale(self, h: Tensor) -> Tensor:
        if self.bounded:
            return torch.log1p(torch.sigmoid(h + 2)) - torch.log(h.new_tensor(2.0))
        return F.logsigmoid(h + 2)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log|det| = sum(log s), per image."""
        x1, x2 = x.chunk(2, dim=1)
        shift, h = self.conditioner(x1).chunk(2, dim=1)
        scale = torch.sigmoid(h + 2)
        if self.bounded:
            scale = (1 + scale) / 2
        return torch.cat((x1, (x2 + shift) * scale), dim=1), self._log_scale(h).sum(dim=(1, 2, 3))

    def decode(self, y: Tensor) -> Tensor:
        """x2 = y2 / s - t, with 1/s formed without dividing by a sigmoid that may underflow."""
        y1, y2 = y.chunk(2, dim=1)
        shift, h = self.conditioner(y1).chunk(2, dim=1)
        inverse_scale = 2 / (1 + torch.sigmoid(h + 2)) if self.bounded else 1 + torch.exp(-(h + 2))
        return torch.cat((y1, y2 * inverse_scale - shift), dim=1)
