"""An engine against itself: neither its neighbours in a batch nor the size of the batch may change an image's result.

Needs no reference model. TensorRT 11 has open bugs of both kinds (NVIDIA/TensorRT issues 4796, 4813, 4853).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..images import bits_per_dim
from .backends import Backend
from .measures import ErrorSummary, summarize

__all__ = ["ConsistencyFigures", "batch_sizes", "measure_decoder", "measure_encoder"]

_SIZES = (2, 3, 5)
_LARGEST = 64

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
    """Sizes to try: small and odd ones, the one in use, and the largest of the engine and one beyond (split)."""
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
    rows = np.arange(max(sizes)) % n
    one_by_one = [run(rows[i : i + 1]) for i in range(min(n, len(rows)))]
    alone = {name: np.concatenate([one[name] for one in one_by_one])[rows] for name in one_by_one[0]}
    equal: dict[str, ErrorSummary] = {}
    split: dict[str, ErrorSummary] = {}
    bit_equal = True
    for size in sizes:
        same = run(np.zeros(size, dtype=np.int64))
        mixed = run(rows[:size])
        for name, expected in alone.items():
            first = np.broadcast_to(same[name][:1], same[name].shape)
            bit_equal &= np.array_equal(same[name], first) and np.array_equal(mixed[name], expected[:size])
            equal[name] = _worst(equal.get(name), same[name], first)
            split[name] = _worst(split.get(name), mixed[name], expected[:size])
    return ConsistencyFigures(sizes=sizes, equal_rows=equal, split=split, bit_equal=bool(bit_equal))


def _worst(so_far: ErrorSummary | None, obtained: np.ndarray, expected: np.ndarray) -> ErrorSummary:
    """The row with the largest rms difference; one with a non-finite value is worse than any other."""
    worst = so_far
    for i in range(len(obtained)):
        row = summarize(obtained[i : i + 1], expected[i : i + 1])
        if worst is None or _badness(row) > _badness(worst):
            worst = row
    assert worst is not None
    return worst


def _badness(summary: ErrorSummary) -> float:
    return math.inf if not summary.finite else summary.rms
