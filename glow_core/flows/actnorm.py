"""Actnorm with data-dependent initialisation (Kingma & Dhariwal 2018, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Bijection

__all__ = ["ActNorm"]

_EPSILON = 1e-6  # keeps a channel that is constant over the first batch from an infinite scale


class ActNorm(Bijection):
    """Per-channel y = exp(log_scale) * (x + bias).

    The first batch seen in training mode sets both parameters so that y has zero mean and unit variance per channel.
    The flag that this has happened is a buffer: it is saved with the weights, so a reloaded layer never initialises
    again.

    Args:
        channels: C.
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1, dtype=torch.float32))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1, dtype=torch.float32))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set bias and log_scale from the statistics of x [N,C,H,W], and raise the flag."""
        mean = x.mean(dim=(0, 2, 3), keepdim=True)
        deviation = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True).sqrt()
        self.bias.copy_(-mean)
        self.log_scale.copy_(-torch.log(deviation + _EPSILON))
        self.initialized.fill_(1)

    def initialize_once(self, x: Tensor) -> None:
        """Set both parameters from x [N,C,H,W] where this is training and nothing has set them."""
        if self.training and not self.initialized:
            self.initialize(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [N,C,H,W]; without the log-determinant, as the conditioner's hidden layers use it."""
        self.initialize_once(x)
        return torch.exp(self.log_scale) * (x + self.bias)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log|det| = H * W * sum(log_scale)."""
        y = self.forward(x)
        return y, x.shape[2] * x.shape[3] * self.log_scale.sum()

    def decode(self, y: Tensor) -> Tensor:
        """x = exp(-log_scale) * y - bias."""
        return torch.exp(-self.log_scale) * y - self.bias
