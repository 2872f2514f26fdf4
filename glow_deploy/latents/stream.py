"""Pictures on their way into an encoder, batch by batch: checked, numbered, with their noise and their labels.

Encoding and scoring walk the same way; what they keep of each batch is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import pixels_to_x, values_to_pixels
from glow_deploy.protocol import Engine

from .classes import class_log_prob
from .noise import dequantisation
from .specs import check_labels, need_role, show_shape

__all__ = ["EncoderBatch", "PictureBatch", "encoder_batches", "picture_batches"]

ChooseClass = Callable[[npt.NDArray[np.float64], Sequence[str]], npt.NDArray[np.int64]]
"""From log p(x|y) [n, K] and the pictures' names to the class of each, [n]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureBatch:
    """Pictures to encode together: uint8 [n, C, H, W] 8-bit values, names and labels where there are any."""

    values: npt.NDArray[np.uint8]
    names: Sequence[str] | None = None
    labels: npt.ArrayLike | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderBatch:
    """A batch that fits the encoder.

    Attributes:
        encoder: that it goes into.
        names: one a picture.
        labels: int64 [n], None for a model without classes.
        class_log_prob: float64 [n, K] where the class was chosen by it, else None.
        pixels: uint8 [n, C, H, W], n-bit.
        indices: int64 [n], the number of each picture, which its noise depends on.
        draws: of dequantisation noise.
        seed: of that noise.
    """

    encoder: Engine
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64] | None
    class_log_prob: npt.NDArray[np.float64] | None
    pixels: npt.NDArray[np.uint8]
    indices: npt.NDArray[np.int64]
    draws: int
    seed: int

    def __len__(self) -> int:
        return len(self.pixels)

    def run(self, x: npt.NDArray[np.float32]) -> dict[str, np.ndarray]:
        """Encode `x` [n, C, H, W] of these pictures."""
        dtype = next(spec.dtype for spec in self.encoder.inputs if spec.name == "x")
        feeds: dict[str, np.ndarray] = {"x": x.astype(dtype, copy=False)}
        return self.encoder.run(feeds if self.labels is None else feeds | {"y": self.labels})

    def centre(self) -> npt.NDArray[np.float32]:
        """The pictures at their bin centres."""
        return pixels_to_x(self.pixels, self.encoder.n_bits)

    def noisy(self) -> Iterator[npt.NDArray[np.float32]]:
        """The pictures once for each draw of noise."""
        for draw in range(self.draws):
            u = dequantisation(self.seed, self.indices, self.pixels.shape[1:], draw=draw)
            yield pixels_to_x(self.pixels, self.encoder.n_bits, u=u)


def encoder_batches(
    encoder: Engine,
    batches: Iterable[PictureBatch],
    *,
    purpose: str,
    draws: int,
    seed: int,
    choose: ChooseClass | None = None,
    start: int = 0,
) -> Iterator[EncoderBatch]:
    """Check pictures and labels, batch by batch, before the encoder sees them.

    Args:
        encoder: an open encoder.
        batches: of pictures.
        purpose: what is done, for messages: `encoding`.
        draws: of dequantisation noise, 0 or more.
        seed: of that noise.
        choose: takes each picture's class from the likelihood under every class, instead of labels. That costs K runs
            for each draw, or K at bin centres without draws.
        start: number of the first picture.

    Raises:
        UsageError: the engine is a decoder, or labels are missing or not wanted.
        DataError: the pictures do not fit the model, or a label is no class of it.
    """
    need_role(encoder, "encoder", purpose)
    shape = next(spec.shape for spec in encoder.inputs if spec.name == "x")
    for batch in batches:
        count = len(batch.values)
        if batch.values.shape[1:] != shape:
            held = show_shape(batch.values.shape[1:])
            raise DataError(f"pictures are {held} (C, H, W), the model takes {show_shape(shape)}")
        if choose is not None and batch.labels is not None:
            raise UsageError("labels were given, and the best class was asked for; leave one of them out")
        indices = np.arange(start, start + count, dtype=np.int64)
        start += count
        ready = EncoderBatch(
            encoder=encoder,
            names=tuple(batch.names) if batch.names is not None else tuple(str(index) for index in indices),
            labels=check_labels(encoder, batch.labels, count) if choose is None else None,
            class_log_prob=None,
            pixels=values_to_pixels(batch.values, encoder.n_bits),
            indices=indices,
            draws=draws,
            seed=seed,
        )
        yield ready if choose is None else _with_class(ready, choose)


def picture_batches(
    values: npt.NDArray[np.uint8],
    *,
    batch: int,
    names: Sequence[str] | None,
    labels: npt.ArrayLike | None,
) -> Iterator[PictureBatch]:
    """Cut pictures in memory into batches."""
    every = None if labels is None else np.asarray(labels)
    for first in range(0, len(values), batch):
        rows = slice(first, first + batch)
        yield PictureBatch(
            values=values[rows],
            names=None if names is None else names[rows],
            labels=None if every is None else every[rows],
        )


def _with_class(batch: EncoderBatch, choose: ChooseClass) -> EncoderBatch:
    by_class = class_log_prob(batch.encoder, batch.noisy() if batch.draws else [batch.centre()])
    labels = check_labels(batch.encoder, choose(by_class, batch.names), len(batch))
    return replace(batch, labels=labels, class_log_prob=by_class)
