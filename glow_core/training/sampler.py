"""Which images a step sees, and its noise: pure functions of the seed and the step, so that nothing has to be saved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["ShuffledSampler", "dequantize", "derive_seed", "draw_noise", "generator_for"]


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Return a seed in [0, 2^63) of its own for each purpose and index."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a CPU generator seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, index))


class ShuffledSampler:
    """Endless stream of shuffled epochs, cut into batches of one size.

    Every epoch holds each image exactly once, in an order of its own; a batch may begin in one epoch and end in the
    next, so no image is dropped and no batch is short.

    Args:
        length: number of images.
        batch_size: images per step.
        seed: of the run.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> np.ndarray:
        """Return the images of a step, counted from 1, as int64 [batch_size]."""
        position = (step - 1) * self.batch_size
        parts: list[np.ndarray] = []
        missing = self.batch_size
        while missing:
            epoch, offset = divmod(position, self.length)
            part = self._order(epoch)[offset : offset + missing]
            parts.append(part)
            position += len(part)
            missing -= len(part)
        return np.concatenate(parts)

    def epoch(self, step: int) -> float:
        """Return the epochs completed after a step."""
        return step * self.batch_size / self.length

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            generator = generator_for(self.seed, "order", epoch)
            order: np.ndarray = torch.randperm(self.length, generator=generator, device="cpu").numpy()
            # A batch touches neighbouring epochs, so the two latest are enough to keep.
            self._orders = {old: kept for old, kept in self._orders.items() if old == epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]


def draw_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw u from [0, 1), float32 of any shape on the CPU, whatever torch's defaults are."""
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def dequantize(pixels: np.ndarray, noise: Tensor, *, n_bits: int) -> Tensor:
    """Return x = (p + u) / 2^n_bits in [0, 1) (uniform dequantisation, Theis et al. 2016, section 3.1).

    Args:
        pixels: p, uint8 [N,C,H,W] in 0 .. 2^n_bits - 1.
        noise: u, float32 [N,C,H,W] in [0, 1).
        n_bits: depth of the pixels.
    """
    # 2^-16 is the finest u for which p + u is exact in float32 and so stays below the next pixel value.
    fine = torch.floor(noise * 65536) / 65536
    x: Tensor = (torch.from_numpy(pixels).to(torch.float32) + fine) / 2**n_bits
    return x
