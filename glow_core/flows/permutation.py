"""Channel permutations: the invertible 1x1 convolution, plain and LU, and fixed ones (Glow, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Bijection

__all__ = ["FixedPermutation", "InvertibleConv1x1", "InvertibleConv1x1LU"]


def _random_rotation(channels: int) -> Tensor:
    """A random rotation matrix in float64, so that the log-determinant starts at 0."""
    q, r = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
    rotation: Tensor = q * torch.sign(torch.diagonal(r))
    return rotation


def _conv1x1(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None])


class InvertibleConv1x1(Bijection):
    """y = W x at every pixel, with W [C,C] a free parameter; log|det| = H * W * log|det W| (equation 9).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw a random rotation; nothing to draw for a module on the meta device, which only describes."""
        if not self.weight.is_meta:
            self.weight.copy_(_random_rotation(self.weight.shape[0]))

    def matrix(self) -> Tensor:
        """Return W [C,C]."""
        return self.weight

    def log_det(self) -> Tensor:
        """Return log|det W|, taken in float64, in the dtype of W."""
        log_det: Tensor = torch.linalg.slogdet(self.weight.double())[1].to(self.weight.dtype)
        return log_det

    def inverse(self) -> Tensor:
        """Return the inverse of W, float64 [C,C]: one taken in float32 costs digits on every decode."""
        inverse: Tensor = torch.linalg.inv(self.weight.double())
        return inverse

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the channels with W."""
        return _conv1x1(x, self.weight), x.shape[2] * x.shape[3] * self.log_det()

    def decode(self, y: Tensor) -> Tensor:
        """Mix the channels with the inverse of W."""
        return _conv1x1(y, self.inverse().to(y.dtype))


class InvertibleConv1x1LU(Bijection):
    """W = P L (U + diag(s)), with P fixed, L unit lower triangular, U strictly upper triangular (equation 10).

    s is kept as its sign (fixed) and log|s| (learned), so log|det| = H * W * sum(log|s|) (equation 11).

    Args:
        channels: C.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("permutation", torch.empty(channels, channels, dtype=torch.float32))
        self.register_buffer("sign", torch.empty(channels, dtype=torch.float32))
        self.lower = nn.Parameter(torch.empty(channels, channels, dtype=torch.float32))
        self.upper = nn.Parameter(torch.empty(channels, channels, dtype=torch.float32))
        self.log_abs_s = nn.Parameter(torch.empty(channels, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw a random rotation and factor it; nothing to draw for a module on the meta device."""
        if self.lower.is_meta:
            return
        p, lower, upper = torch.linalg.lu(_random_rotation(self.lower.shape[0]))
        diagonal = torch.diagonal(upper)
        self.permutation.copy_(p)
        self.sign.copy_(torch.sign(diagonal))
        self.lower.copy_(lower.tril(-1))
        self.upper.copy_(upper.triu(1))
        self.log_abs_s.copy_(torch.log(torch.abs(diagonal)))

    def factors(self, *, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return P, L with its unit diagonal and U with its diagonal s, each [C,C].

        Args:
            dtype: in which they are assembled, exp(log|s|) included; None for that of the layer.
        """
        dtype = dtype or self.lower.dtype
        eye = torch.eye(self.lower.shape[0], dtype=dtype, device=self.lower.device)
        lower = self.lower.to(dtype).tril(-1) + eye
        diagonal = self.sign.to(dtype) * torch.exp(self.log_abs_s.to(dtype))
        upper = self.upper.to(dtype).triu(1) + torch.diag(diagonal)
        return self.permutation.to(dtype), lower, upper

    def matrix(self, *, dtype: torch.dtype | None = None) -> Tensor:
        """Return W [C,C], assembled in `dtype`; None for that of the layer."""
        p, lower, upper = self.factors(dtype=dtype)
        return p @ lower @ upper

    def inverse(self, *, dtype: torch.dtype | None = None) -> Tensor:
        """Return the inverse of W, float64 [C,C], by triangular solves.

        They keep more digits than inverting the assembled W.

        Args:
            dtype: in which the factors are assembled; None for that of the layer. The solves are float64 in any case.
        """
        p, lower, upper = (factor.double() for factor in self.factors(dtype=dtype))
        inner = torch.linalg.solve_triangular(lower, p.T, upper=False, unitriangular=True)
        inverse: Tensor = torch.linalg.solve_triangular(upper, inner, upper=True)
        return inverse

    def log_det(self) -> Tensor:
        """Return log|det W|."""
        return self.log_abs_s.sum()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the channels with W."""
        return _conv1x1(x, self.matrix()), x.shape[2] * x.shape[3] * self.log_det()

    def decode(self, y: Tensor) -> Tensor:
        """Mix the channels with the inverse of W."""
        return _conv1x1(y, self.inverse().to(y.dtype))


class FixedPermutation(Bijection):
    """Reverse the channels, or shuffle them in an order drawn once and saved with the weights (figure 3).

    Args:
        channels: C.
        kind: `reverse` or `shuffle`.
    """

    order: Tensor

    def __init__(self, channels: int, *, kind: Literal["reverse", "shuffle"]) -> None:
        super().__init__()
        order = torch.arange(channels - 1, -1, -1) if kind == "reverse" else torch.randperm(channels)
        self.register_buffer("order", order)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Volume-preserving: the log-determinant is 0."""
        return x[:, self.order], x.new_zeros(())

    def decode(self, y: Tensor) -> Tensor:
        """Put the channels back."""
        return y[:, torch.argsort(self.order)]
