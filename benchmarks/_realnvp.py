"""A RealNVP of the same size as a Glow, to stand beside it (Dinh et al. 2016, sections 3.4 to 3.6).

Masks, scales and levels are that paper's: checkerboard couplings, squeeze, channel-wise couplings, half of the channels
leave; log s is a tanh times a learned factor; the prior is a standard normal. What differs: actnorm stands where it has
batch norm, the conditioner is Glow's in place of a residual network, and the last level is like the others, so that
there are as many couplings as in the Glow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from glow_core import Glow, GlowConfig
from glow_core.flows import ActNorm, Bijection, Squeeze
from glow_core.flows.conditioner import Conditioner
from glow_core.flows.prior import standard_normal_log_prob

__all__ = ["MaskedCoupling", "RealNvp", "channel_mask", "checkerboard"]


def checkerboard(shape: tuple[int, int, int], *, odd: bool) -> Tensor:
    """1 where a value passes through, 0 where it is moved, [1,C,H,W]: by the parity of row + column (figure 3)."""
    _, height, width = shape
    parity = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    return (parity == int(odd)).float().expand(1, *shape).clone()


def channel_mask(shape: tuple[int, int, int], *, odd: bool) -> Tensor:
    """Likewise by the half that a channel lies in (figure 3)."""
    first = (torch.arange(shape[0]) < shape[0] // 2).float()
    return (1 - first if odd else first)[None, :, None, None].expand(1, *shape).clone()


class MaskedCoupling(Bijection):
    """y = b x + (1 - b) (x exp(s(b x)) + t(b x)), with a mask b (equation 9).

    Args:
        mask: b, float32 [1,C,H,W] of zeros and ones.
        width: hidden channels of the conditioner.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, width: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        channels = mask.shape[1]
        self.conditioner = Conditioner(channels, 2 * channels, width=width)
        self.factor = nn.Parameter(torch.ones(1, channels, 1, 1))

    def _told(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, h = self.conditioner(self.mask * x).chunk(2, dim=1)
        moved = 1 - self.mask
        return moved * shift, moved * self.factor * torch.tanh(h)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> the same shape, and the log-determinant [N]."""
        shift, log_scale = self._told(x)
        return x * torch.exp(log_scale) + shift, log_scale.sum(dim=(1, 2, 3))

    def decode(self, y: Tensor) -> Tensor:
        """The inverse: what passes through says the same."""
        shift, log_scale = self._told(y)
        return (y - shift) * torch.exp(-log_scale)


def _couplings(shape: tuple[int, int, int], mask: Callable[..., Tensor], *, count: int, width: int) -> nn.ModuleList:
    layers: list[Bijection] = []
    for number in range(count):
        layers += [ActNorm(shape[0]), MaskedCoupling(mask(shape, odd=number % 2 == 1), width=width)]
    return nn.ModuleList(layers)


class RealNvp(Glow):
    """As many levels and couplings as the Glow of this config, whose other options mean nothing here.

    Args:
        config: `steps` is even; half of them come before the squeeze of a level, and half after it.
    """

    def __init__(self, config: GlowConfig) -> None:
        nn.Module.__init__(self)
        if config.steps % 2 or config.num_classes is not None:
            raise ValueError("a RealNVP takes an even number of steps and no classes")
        self.config = config
        self.squeeze = Squeeze()
        half = config.steps // 2
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        for channels, height, width in config.level_shapes:
            fine = (channels // 4, 2 * height, 2 * width)
            self.before.append(_couplings(fine, checkerboard, count=half, width=config.width))
            self.after.append(_couplings((channels, height, width), channel_mask, count=half, width=config.width))

    def _levels(self) -> list[tuple[list[Bijection], list[Bijection]]]:
        return [
            (_bijections(before), _bijections(after)) for before, after in zip(self.before, self.after, strict=True)
        ]

    def encode(self, x: Tensor, y: Tensor | None = None, *, through: object = None) -> tuple[list[Tensor], Tensor]:
        """Map images [N,C,H,W] to [z1, ..., zL], with a Glow's shapes, and log_prob [N] in nats."""
        del y, through
        h, log_prob, latents = x - 0.5, x.new_zeros(len(x)), []
        for before, after in self._levels():
            for layer in (*before, self.squeeze, *after):
                h, log_det = layer.encode(h)
                log_prob = log_prob + log_det
            if len(latents) < self.config.levels - 1:
                h, z = h.chunk(2, dim=1)
                latents.append(z)
        latents.append(h)
        return latents, log_prob + sum(standard_normal_log_prob(z) for z in latents)

    def decode(self, z: Sequence[Tensor], y: Tensor | None = None) -> Tensor:
        """Map latents back to images: the exact inverse of `encode`."""
        del y
        h = z[-1]
        for index, (before, after) in reversed(list(enumerate(self._levels()))):
            if index < self.config.levels - 1:
                h = torch.cat((h, z[index]), dim=1)
            for layer in reversed((*before, self.squeeze, *after)):
                h = layer.decode(h)
        return h + 0.5


def _bijections(modules: nn.Module) -> list[Bijection]:
    return [module for module in modules.children() if isinstance(module, Bijection)]
