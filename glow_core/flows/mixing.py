"""Actnorm and a 1x1 convolution as one map, as they are deployed: W diag(exp(log_scale)) is one matrix."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .actnorm import ActNorm
from .base import Bijection
from .permutation import InvertibleConv1x1, InvertibleConv1x1LU
from .rows import from_rows, to_rows

__all__ = ["Mixing"]


class Mixing(Bijection):
    """y = W diag(exp(log_scale)) (x + bias) at every pixel.

    Args:
        actnorm: gives log_scale and bias. The first batch initialises it as it would on its own.
        permutation: gives W.
    """

    def __init__(self, actnorm: ActNorm, permutation: InvertibleConv1x1 | InvertibleConv1x1LU) -> None:
        super().__init__()
        self.actnorm, self.permutation = actnorm, permutation

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log|det| = H * W * (sum(log_scale) + log|det W|)."""
        self.actnorm.initialize_once(x)
        log_scale = self.actnorm.log_scale
        folded = self.permutation.matrix() * torch.exp(log_scale).view(-1)
        log_det = log_scale.sum() + self.permutation.log_det()
        return _multiplied(x + self.actnorm.bias, folded), x.shape[2] * x.shape[3] * log_det

    def decode(self, y: Tensor) -> Tensor:
        """x = diag(exp(-log_scale)) W^-1 y - bias, with the matrix taken in float64."""
        scale = torch.exp(-self.actnorm.log_scale.double()).view(-1, 1)
        folded = scale * self.permutation.inverse()
        return _multiplied(y, folded.to(y.dtype)) - self.actnorm.bias


def _multiplied(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every pixel of [N,in,H,W] with [out,in]."""
    if x.device.type != "cpu":
        return F.conv2d(x, matrix[:, :, None, None])
    return from_rows(F.linear(to_rows(x), matrix), (x.shape[0], x.shape[2], x.shape[3]))
