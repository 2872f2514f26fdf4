"""Images together with what one implementation of a model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Coded"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """Images, and what one implementation of the model makes of them.

    Attributes:
        x: [N,C,H,W].
        z: z1 ... zL.
        log_prob: [N], nats.
        x_hat: [N,C,H,W], its decode of z.
        y: [N] int64 class labels, or None.
        integers: z as the integers of an exact model, int64; None for all others.
    """

    x: np.ndarray
    z: tuple[np.ndarray, ...]
    log_prob: np.ndarray
    x_hat: np.ndarray
    y: np.ndarray | None = None
    integers: tuple[np.ndarray, ...] | None = None

    def rows(self, rows: Sequence[int]) -> Coded:
        """Return some of the images, in the order given."""
        index = list(rows)
        return Coded(
            x=self.x[index],
            z=tuple(part[index] for part in self.z),
            log_prob=self.log_prob[index],
            x_hat=self.x_hat[index],
            y=None if self.y is None else self.y[index],
            integers=None if self.integers is None else tuple(part[index] for part in self.integers),
        )

    def followed_by(self, other: Coded) -> Coded:
        """Return these images and then the others'."""
        return Coded(
            x=np.concatenate((self.x, other.x)),
            z=tuple(np.concatenate(pair) for pair in zip(self.z, other.z, strict=True)),
            log_prob=np.concatenate((self.log_prob, other.log_prob)),
            x_hat=np.concatenate((self.x_hat, other.x_hat)),
            y=None if self.y is None or other.y is None else np.concatenate((self.y, other.y)),
        )
