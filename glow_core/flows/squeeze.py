"""Squeeze: space to channels (RealNVP, Dinh et al. 2017, section 3.6; Glow, figure 2b)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .base import Bijection

__all__ = ["Squeeze"]


class Squeeze(Bijection):
    """[N,C,H,W] -> [N,4C,H/2,W/2]; channel c at offset (i,j) of its 2x2 block becomes channel 4c+2i+j."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Volume-preserving: the log-determinant is 0."""
        if not len(x):  # which torch would return as it is
            _, channels, height, width = x.shape
            return x.reshape(0, 4 * channels, height // 2, width // 2), x.new_zeros(())
        return F.pixel_unshuffle(x, 2), x.new_zeros(())

    def decode(self, y: Tensor) -> Tensor:
        """Channels back to space."""
        if not len(y):
            _, channels, height, width = y.shape
            return y.reshape(0, channels // 4, 2 * height, 2 * width)
        return F.pixel_shuffle(y, 2)
