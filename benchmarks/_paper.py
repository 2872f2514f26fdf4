"""The paper's CIFAR-10 model (L=3, K=32, width 512), and its halves as plain torch modules for the comparisons."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glow_core import Glow, GlowConfig, save_checkpoint
from glow_deploy.folding import FoldedConv, FoldedGlow, FoldedLevel, FoldedStep

__all__ = ["FoldedDecoder", "FoldedEncoder", "paper_glow", "write_paper_checkpoint"]


def paper_glow(*, width: int = 512, steps: int = 32) -> Glow:
    """Random weights of the paper's size, moved off their initial values so that no coupling is the identity."""
    torch.manual_seed(0)
    glow = Glow(GlowConfig(image_size=(32, 32), channels=3, levels=3, steps=steps, width=width, n_bits=8))
    glow.initialize(torch.rand(16, 3, 32, 32))
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter.add_(0.003 * torch.randn_like(parameter))
    return glow.eval()


def write_paper_checkpoint(path: Path, *, width: int = 512, steps: int = 32) -> None:
    """Save `paper_glow` as a native checkpoint."""
    save_checkpoint(paper_glow(width=width, steps=steps), path)


class _Conv(nn.Module):
    """A folded convolution with its weights as constants."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: FoldedConv) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(conv.weight.copy()).float())
        self.register_buffer("bias", torch.from_numpy(conv.bias.copy()).float())
        self.padding = conv.weight.shape[2] // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)


class _Conditioner(nn.Module):
    def __init__(self, step: FoldedStep) -> None:
        super().__init__()
        net = step.conditioner
        self.conv1, self.conv2, self.conv3 = _Conv(net.conv1), _Conv(net.conv2), _Conv(net.conv3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.conv2(F.relu(self.conv1(x))))
        shift, v = self.conv3(hidden).chunk(2, dim=1)
        return shift, (1 + torch.sigmoid(v)) / 2


class _EncodeLevel(nn.Module):
    def __init__(self, level: FoldedLevel) -> None:
        super().__init__()
        self.invconv = nn.ModuleList(_Conv(step.encode) for step in level.steps)
        self.conditioner = nn.ModuleList(_Conditioner(step) for step in level.steps)
        self.split = None if level.split is None else _Conv(level.split)

    def forward(self, h: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        h = F.pixel_unshuffle(h, 2)
        for invconv, conditioner in zip(self.invconv, self.conditioner, strict=True):
            kept, moved = invconv(h).chunk(2, dim=1)
            shift, scale = conditioner(kept)
            h = torch.cat((kept, (moved + shift) * scale), dim=1)
            log_prob = log_prob + torch.log(scale).sum(dim=(1, 2, 3))
        if self.split is None:
            return h, None, log_prob
        kept, emitted = h.chunk(2, dim=1)
        mean, log_scale = self.split(kept).chunk(2, dim=1)
        z = (emitted - mean) * torch.exp(-log_scale)
        return kept, z, log_prob - (log_scale + 0.5 * z * z).sum(dim=(1, 2, 3))


class FoldedEncoder(nn.Module):
    """x -> z1 ... zL, log_prob (up to its constant): what a PyTorch user would run after folding by hand."""

    def __init__(self, folded: FoldedGlow) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_EncodeLevel(level) for level in folded.levels)
        self.register_buffer("mean", torch.from_numpy(folded.prior.mean).float())
        self.register_buffer("log_scale", torch.from_numpy(folded.prior.log_scale).float())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[N,C,H,W] -> the latents and log_prob."""
        h, log_prob, latents = x, x.sum(dim=(1, 2, 3)) * 0, []
        for level in self.levels:
            h, z, log_prob = level(h, log_prob)
            if z is not None:
                latents.append(z)
        z = (h - self.mean) * torch.exp(-self.log_scale)
        return (*latents, z, log_prob - 0.5 * (z * z).sum(dim=(1, 2, 3)))


class _DecodeLevel(nn.Module):
    def __init__(self, level: FoldedLevel) -> None:
        super().__init__()
        self.invconv = nn.ModuleList(_Conv(step.decode) for step in reversed(level.steps))
        self.conditioner = nn.ModuleList(_Conditioner(step) for step in reversed(level.steps))
        self.split = None if level.split is None else _Conv(level.split)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        if self.split is not None:
            mean, log_scale = self.split(h).chunk(2, dim=1)
            h = torch.cat((h, mean + z * torch.exp(log_scale)), dim=1)
        for invconv, conditioner in zip(self.invconv, self.conditioner, strict=True):
            kept, moved = h.chunk(2, dim=1)
            shift, scale = conditioner(kept)
            h = invconv(torch.cat((kept, moved / scale - shift), dim=1))
        return F.pixel_shuffle(h, 2)


class FoldedDecoder(nn.Module):
    """z1 ... zL -> x: what a PyTorch user would run after folding by hand."""

    def __init__(self, folded: FoldedGlow) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_DecodeLevel(level) for level in reversed(folded.levels))
        self.register_buffer("mean", torch.from_numpy(folded.prior.mean).float())
        self.register_buffer("scale", torch.from_numpy(folded.prior.log_scale).exp().float())

    def forward(self, z1: Tensor, z2: Tensor, z3: Tensor) -> Tensor:
        """The latents -> [N,C,H,W]."""
        h = z3 * self.scale + self.mean
        for level, z in zip(self.levels, (z3, z2, z1), strict=True):
            h = level(h, z)
        return h
