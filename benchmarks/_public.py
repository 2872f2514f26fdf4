"""The layout that public PyTorch Glows have, written out in float32.

NCHW convolutions that autograd takes one by one, no actnorm in the conditioner, the last convolution padded with ones,
W put together from its factors in every step, halves by chunk and cat.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PublicGlow"]


class PublicZeroConv(nn.Module):
    """3x3 convolution that starts at zero, of a picture padded with ones."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.scale = nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,out,H,W]."""
        y: Tensor = self.conv(F.pad(x, [1, 1, 1, 1], value=1))
        return y * torch.exp(3 * self.scale)


class PublicStep(nn.Module):
    """Actnorm, 1x1 convolution by LU factors, affine coupling."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        diagonal = torch.diagonal(upper).clone()
        ones = torch.ones(channels, channels)
        fixed = {"p": p, "below": ones.tril(-1), "above": ones.triu(1), "sign": diagonal.sign()}
        for name, tensor in (*fixed.items(), ("eye", torch.eye(channels))):
            self.register_buffer(name, tensor)
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(diagonal.abs().log())
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
            PublicZeroConv(width, channels),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> the same shape, and the log-determinant [N]."""
        pixels = x.shape[2] * x.shape[3]
        log_det = pixels * torch.log(torch.abs(self.scale)).sum()
        x = self.scale * (x + self.loc)
        upper = self.upper * self.above + torch.diag(self.sign * torch.exp(self.log_s))
        weight = self.p @ (self.lower * self.below + self.eye) @ upper
        x = F.conv2d(x, weight[:, :, None, None])
        log_det = log_det + pixels * self.log_s.sum()
        x1, x2 = x.chunk(2, 1)
        h, shift = self.net(x1).chunk(2, 1)
        scale = torch.sigmoid(h + 2)
        return torch.cat([x1, (x2 + shift) * scale], 1), log_det + torch.log(scale).flatten(1).sum(1)


class PublicGlow(nn.Module):
    """log_prob of an affine Glow with learned priors."""

    def __init__(self, levels: int, steps: int, width: int) -> None:
        super().__init__()
        self.levels, self.priors = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for level in range(levels):
            channels *= 4
            self.levels.append(nn.ModuleList(PublicStep(channels, width) for _ in range(steps)))
            channels //= 1 if level == levels - 1 else 2
            self.priors.append(PublicZeroConv(channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return log_prob [N] of images [N,3,H,W] in [0,1)."""
        total = x.new_zeros(len(x))
        h = x - 0.5
        for number, (steps, prior) in enumerate(zip(self.levels, self.priors, strict=True), start=1):
            batch, channels, height, width = h.shape
            h = h.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
            h = h.reshape(batch, 4 * channels, height // 2, width // 2)
            for step in steps:  # type: ignore[union-attr]
                h, log_det = step(h)
                total = total + log_det
            h, z = (torch.zeros_like(h), h) if number == len(self.levels) else h.chunk(2, 1)
            mean, log_scale = prior(h).chunk(2, 1)
            log_p = -0.5 * math.log(2 * math.pi) - log_scale - 0.5 * (z - mean) ** 2 / torch.exp(2 * log_scale)
            total = total + log_p.flatten(1).sum(1)
        return total
