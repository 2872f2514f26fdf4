"""An engine against itself: neither its neighbours in a batch nor the size of the batch may change an image's result.

Needs no reference model. TensorRT 11 has open bugs of both kinds (NVIDIA/TensorRT issues 4796, 4813, 4853).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glow_deploy.images import bits_per_dim
from glow_deploy.numerics.measures import ErrorSummary, summarize
from glow_deploy.verify.backends.backend import Backend

__all__ = ["ConsistencyFigures", "batch_sizes", "measure_decoder", "measure_encoder"]

_SIZES = (2, 3, 5)
_LARGEST = 64
_IMAGES = 5  # different ones; larger batches repeat them

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class ConsistencyFigures:
    """The image that differs most, per output (`z` and `bits/dim`, or `x`).

    Attributes:
        sizes: batch sizes tried.
        equal_rows: rows of a batch of equal images against the first row.
        split: rows of a batch against the same images run one by one.
        bit_equal: no difference anywhere.
    """

    sizes: tuple[int, ...]
    equal_rows: dict[str, ErrorSummary]
    split: dict[str, ErrorSummary]
    bit_equal: bool


def batch_sizes(*, batch: int, max_batch: int | None) -> tuple[int, ...]:
    """Sizes to try: small and odd ones, the one in use, and the largest of the engine and one beyond (split).

    The last three up to 64, and none for a batch of 0.
    """
    sizes = {*_SIZES, min(batch, _LARGEST)}
    if max_batch is not None and max_batch < _LARGEST:
        sizes |= {max_batch, max_batch + 1}
    return tuple(sorted(size for size in sizes if size > 1))


def measure_encoder(
    backend: Backend, x: np.ndarray, y: np.ndarray | None, *, batch: int, n_bits: int
) -> ConsistencyFigures:
    """Check an encoder on images x [N, C, H, W] with labels y [N]; they are repeated to fill the largest batch."""
    dims = int(np.prod(x.shape[1:]))

    def run(rows: np.ndarray) -> dict[str, np.ndarray]:
        encoded = backend.encode(x[rows], None if y is None else y[rows])
        flat = [part.reshape(len(rows), -1) for part in encoded.z]
        return {
            "z": np.concatenate(flat, axis=1),
            "bits/dim": bits_per_dim(encoded.log_prob, dims=dims, n_bits=n_bits)[:, None],
        }

    return _measure(run, n=len(x), sizes=batch_sizes(batch=batch, max_batch=backend.encoder.details.max_batch))


def measure_decoder(
    backend: Backend, z: tuple[np.ndarray, ...], y: np.ndarray | None, *, batch: int
) -> ConsistencyFigures:
    """Check a decoder on latents z1 ... zL of N images, likewise."""

    def run(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": backend.decode([part[rows] for part in z], None if y is None else y[rows])}

    return _measure(run, n=len(z[0]), sizes=batch_sizes(batch=batch, max_batch=backend.decoder.details.max_batch))


def _measure(run: Run, *, n: int, sizes: tuple[int, ...]) -> ConsistencyFigures:
    rows = np.arange(max(sizes)) % min(n, _IMAGES)
    one_by_one = [run(np.array([row])) for row in range(min(n, _IMAGES))]
    alone = {name: np.concatenate([one[name] for one in one_by_one])[rows] for name in one_by_one[0]}
    equal = {name: _Worst() for name in alone}
    split = {name: _Worst() for name in alone}
    bit_equal = True
    for size in sizes:
        same = run(np.zeros(size, dtype=np.int64))
        mixed = run(rows[:size])
        for name, expected in alone.items():
            first = np.broadcast_to(same[name][:1], same[name].shape)
            bit_equal &= np.array_equal(same[name], first) and np.array_equal(mixed[name], expected[:size])
            equal[name].add(same[name], first)
            split[name].add(mixed[name], expected[:size])
    return ConsistencyFigures(
        sizes=sizes,
        equal_rows={name: worst.summary() for name, worst in equal.items()},
        split={name: worst.summary() for name, worst in split.items()},
        bit_equal=bool(bit_equal),
    )


class _Worst:
    """Keeps the row with the largest rms difference; one with a non-finite value is worse than any other."""

    def __init__(self) -> None:
        self._rms = -1.0
        self._pair: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, obtained: np.ndarray, expected: np.ndarray) -> None:
        """Look at the rows of a batch."""
        with np.errstate(invalid="ignore", over="ignore"):
            error = obtained.astype(np.float64) - expected.astype(np.float64)
            rms = np.sqrt(np.square(error).reshape(len(error), -1).mean(axis=1))
        rms[~np.isfinite(rms)] = math.inf
        row = int(rms.argmax())
        if float(rms[row]) > self._rms:
            self._rms = float(rms[row])
            self._pair = obtained[row : row + 1].copy(), expected[row : row + 1].copy()

    def summary(self) -> ErrorSummary:
        """The difference in that row."""
        assert self._pair is not None
        return summarize(*self._pair)
