"""Reading the images of the next steps while a step is worked on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from glow_core.config import GlowConfig

from .data import ImageSource, read_batch
from .sampler import ShuffledSampler

__all__ = ["ReadAhead"]

_STEPS = 2  # batches that are read ahead, each in a thread of its own


class ReadAhead:
    """Gives the pixels of each step, and has those of the next ones read meanwhile.

    Threads and no processes: decoding a picture leaves the interpreter free, and a set needs not be sent anywhere. What
    a step sees is the same, since the sampler alone says it.

    Args:
        images: to read.
        sampler: says which a step sees.
        config: of the model.
    """

    def __init__(self, images: ImageSource, sampler: ShuffledSampler, config: GlowConfig) -> None:
        self._images, self._sampler, self._config = images, sampler, config
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, tuple[np.ndarray, Future[np.ndarray]]] = {}

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the images of a step, int64 [n], and their pixels, uint8 [n,C,H,W].

        Steps are asked for in their order.

        Raises:
            TrainingError: the source gave another dtype or shape than the model takes. Its own errors pass through.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_STEPS, thread_name_prefix="read ahead")
        for number in range(step, step + _STEPS + 1):
            if number not in self._coming:
                chosen = self._sampler.batch(number)
                self._coming[number] = (chosen, self._pool.submit(read_batch, self._images, chosen, self._config))
        indices, pixels = self._coming.pop(step)
        return indices, pixels.result()

    def close(self) -> None:
        """Drop what nobody waits for any more, and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._coming.clear()
