"""What every invertible layer has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Bijection", "Retraced"]


class Retraced(NamedTuple):
    """A layer run back from its output, and forward again for its gradients.

    Attributes:
        inputs: leaves that require a gradient; side by side along the channels they are x with encode(x) = y.
        y: of encode(x), with its graph.
        log_det: likewise.
    """

    inputs: tuple[Tensor, ...]
    y: Tensor
    log_det: Tensor


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

    def retrace(self, y: Tensor) -> Retraced:
        """Find x from y and encode it again; for a backward pass that was given y alone. Gradients must be enabled."""
        with torch.no_grad():
            x = self.decode(y)
        x.requires_grad_()
        return Retraced((x,), *self.encode(x))
