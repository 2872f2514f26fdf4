"""What every invertible layer has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Bijection"]


class Bijection(nn.Module, ABC):
    """An invertible map between [N,C,H,W] tensors whose Jacobian determinant is cheap.

    The direction is the field's: `encode` takes data towards latents, and its log-determinant enters log_prob.
    """

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log|det dy/dx|, the latter of shape [N] or one number for the whole batch."""

    @abstractmethod
    def decode(self, y: Tensor) -> Tensor:
        """Return the x with encode(x) = y."""
