"""Affine and additive coupling (Kingma & Dhariwal 2018, section 3.3 and table 1)."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Bijection, Retraced
from .conditioner import Conditioner

__all__ = ["AdditiveCoupling", "AffineCoupling"]


class _Coupling(Bijection):
    """y1 = x1, and y2 is x2 moved as conditioner(x1) says; x1 and x2 are the halves of the channels."""

    conditioner: Conditioner

    @abstractmethod
    def _move(self, x2: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return y2 and the log-determinant."""

    @abstractmethod
    def _move_back(self, y2: Tensor, told: Tensor) -> Tensor:
        """Return x2."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N,C,H,W] -> the same shape, and the log-determinant: [N], or 0 for all."""
        x1, x2 = x.chunk(2, dim=1)
        y2, log_det = self._move(x2, self.conditioner(x1))
        return torch.cat((x1, y2), dim=1), log_det

    def decode(self, y: Tensor) -> Tensor:
        """The inverse: y1 is x1, so that the conditioner says the same."""
        y1, y2 = y.chunk(2, dim=1)
        return torch.cat((y1, self._move_back(y2, self.conditioner(y1))), dim=1)

    def retrace(self, y: Tensor) -> Retraced:
        """As for every bijection, but the conditioner, which takes nearly all the time, runs once for both ways."""
        y1, y2 = y.detach().chunk(2, dim=1)
        x1 = y1.requires_grad_()
        told = self.conditioner(x1)
        with torch.no_grad():
            x2 = self._move_back(y2, told)
        x2.requires_grad_()
        moved, log_det = self._move(x2, told)
        return Retraced((x1, x2), torch.cat((x1, moved), dim=1), log_det)


class AdditiveCoupling(_Coupling):
    """y1 = x1, y2 = x2 + t with t = conditioner(x1). Volume-preserving: the log-determinant is 0.

    Args:
        channels: C, even.
        width: hidden channels of the conditioner.
        edge_bias: the conditioner sees where the image ends.
    """

    def __init__(self, channels: int, *, width: int, edge_bias: bool = False) -> None:
        super().__init__()
        self.conditioner = Conditioner(channels // 2, channels // 2, width=width, edge_bias=edge_bias)

    def _move(self, x2: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        return x2 + told, x2.new_zeros(())

    def _move_back(self, y2: Tensor, told: Tensor) -> Tensor:
        return y2 - told


class AffineCoupling(_Coupling):
    """y1 = x1, y2 = (x2 + t) * s with (t, h) = conditioner(x1). The log-determinant is sum(log s), per image.

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

    def _move(self, x2: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        shift, h = told.chunk(2, dim=1)
        h = h + 2
        scale = torch.sigmoid(h)
        if self.bounded:
            scale = 0.5 + 0.5 * scale
            log_scale = torch.log(scale)
        else:
            log_scale = F.logsigmoid(h)  # a sigmoid may underflow
        return (x2 + shift) * scale, log_scale.sum(dim=(1, 2, 3))

    def _move_back(self, y2: Tensor, told: Tensor) -> Tensor:
        """x2 = y2 / s - t, with 1/s formed without dividing by a sigmoid that may underflow."""
        shift, h = told.chunk(2, dim=1)
        inverse_scale = 2 / (1 + torch.sigmoid(h + 2)) if self.bounded else 1 + torch.exp(-(h + 2))
        return y2 * inverse_scale - shift
