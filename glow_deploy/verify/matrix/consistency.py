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
from glow_deploy.protocol import EngineDetails
from glow_deploy.verify.backends.backend import Backend

__all__ = [
    "DYNAMIC_LARGEST",
    "ConsistencyFigures",
    "SizesToTry",
    "batch_sizes",
    "measure_decoder",
    "measure_encoder",
    "used_sizes",
]

DYNAMIC_LARGEST = 64
"""Bound of the sizes tried on graphs that take any batch: the most that any command runs at once by default."""

_SMALL = range(2, 10)  # 1 is what the others are compared with
_EQUAL = (2, 3, 5)  # sizes at which a batch of equal images is run besides
_IMAGES = 5  # different ones; larger batches repeat them

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class SizesToTry:
    """Which batch sizes an engine is tried at.

    Attributes:
        used: sizes that it was or will be run at; all of them are tried.
        largest: powers of two and their neighbours are tried up to here; None for the largest that the engine takes,
            or for `DYNAMIC_LARGEST` where it takes any.
        few: `used` and the smallest alone. For what the others are measured with, which is slow.

    Raises:
        ValueError: a size below 1.
    """

    used: tuple[int, ...] = ()
    largest: int | None = None
    few: bool = False

    def __post_init__(self) -> None:
        if min((*self.used, self.largest or 1)) < 1:
            raise ValueError(f"a batch has at least 1 image, not {min((*self.used, self.largest or 1))}")


@dataclass(frozen=True, kw_only=True)
class ConsistencyFigures:
    """The image that differs most, per output (`z` and `bits/dim`, or `x`).

    Attributes:
        sizes: batch sizes tried.
        worst_size: the one at which the image that differs most was found; None where all results are bit-equal.
        equal_rows: rows of a batch of equal images against the first row.
        split: rows of a batch against the same images run one by one.
        bit_equal: no difference anywhere.
    """

    sizes: tuple[int, ...]
    worst_size: int | None
    equal_rows: dict[str, ErrorSummary]
    split: dict[str, ErrorSummary]
    bit_equal: bool


def used_sizes(count: int, *, batch: int) -> tuple[int, ...]:
    """Sizes of the batches that `count` images are run in, `batch` at a time: the last one is what is left over."""
    return tuple(sorted({min(batch, count), count % batch or batch} if count > batch else {count}))


def batch_sizes(sizes: SizesToTry, details: EngineDetails) -> tuple[int, ...]:
    """Choose the sizes to try, 2 and above, in ascending order.

    They are 2 to 9; powers of two with their neighbours; the largest; the sizes that the plan's profile names, and one
    beyond its largest, which is split; and the sizes in use. Kernels are chosen, and blocks padded, at such sizes.

    Args:
        sizes: in use, and the bound.
        details: of the engine: its profile.
    """
    if sizes.few:
        return tuple(sorted({*_EQUAL, *(size for size in sizes.used if size > 1)}))
    most = details.max_batch
    bound = sizes.largest or (DYNAMIC_LARGEST if most is None else most)
    bound = bound if most is None else min(bound, most)
    powers = {2**power + off for power in range(bound.bit_length() + 1) for off in (-1, 0, 1)}
    chosen = {size for size in (*_SMALL, *powers, bound) if size <= bound}
    chosen |= {*sizes.used, *details.named_batches}
    if most is not None:
        chosen |= {most, most + 1}
    return tuple(sorted(size for size in chosen | set(_EQUAL) if size > 1))


def measure_encoder(
    backend: Backend, x: np.ndarray, y: np.ndarray | None, *, sizes: SizesToTry, n_bits: int
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

    return _measure(run, n=len(x), sizes=batch_sizes(sizes, backend.encoder.details), also_equal=sizes.used)


def measure_decoder(
    backend: Backend, z: tuple[np.ndarray, ...], y: np.ndarray | None, *, sizes: SizesToTry
) -> ConsistencyFigures:
    """Check a decoder on latents z1 ... zL of N images, likewise."""

    def run(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": backend.decode([part[rows] for part in z], None if y is None else y[rows])}

    return _measure(run, n=len(z[0]), sizes=batch_sizes(sizes, backend.decoder.details), also_equal=sizes.used)


def _measure(run: Run, *, n: int, sizes: tuple[int, ...], also_equal: tuple[int, ...]) -> ConsistencyFigures:
    rows = np.arange(max(sizes)) % min(n, _IMAGES)
    one_by_one = [run(np.array([row])) for row in range(min(n, _IMAGES))]
    alone = {name: np.concatenate([one[name] for one in one_by_one]) for name in one_by_one[0]}
    equal = {name: _Worst() for name in alone}
    split = {name: _Worst() for name in alone}
    bit_equal = True
    for size in sizes:
        mixed = run(rows[:size])
        for name, single in alone.items():
            expected = single[rows[:size]]
            bit_equal &= np.array_equal(mixed[name], expected)
            split[name].add(mixed[name], expected, size=size)
        if size in _EQUAL or size in also_equal:
            same = run(np.zeros(size, dtype=np.int64))
            for name, result in same.items():
                first = np.broadcast_to(result[:1], result.shape)
                bit_equal &= np.array_equal(result, first)
                equal[name].add(result, first, size=size)
    worst = max((*split.values(), *equal.values()), key=lambda found: found.relative)
    return ConsistencyFigures(
        sizes=sizes,
        worst_size=None if bit_equal else worst.size,
        equal_rows={name: found.summary() for name, found in equal.items()},
        split={name: found.summary() for name, found in split.items()},
        bit_equal=bool(bit_equal),
    )


class _Worst:
    """Keeps the row with the largest rms difference; one with a non-finite value is worse than any other."""

    def __init__(self) -> None:
        self._rms = -1.0
        self._pair: tuple[np.ndarray, np.ndarray] | None = None
        self.size = 0

    def add(self, obtained: np.ndarray, expected: np.ndarray, *, size: int) -> None:
        """Look at the rows of a batch of this size."""
        with np.errstate(invalid="ignore", over="ignore"):
            error = obtained.astype(np.float64) - expected.astype(np.float64)
            rms = np.sqrt(np.square(error).reshape(len(error), -1).mean(axis=1))
        rms[~np.isfinite(rms)] = math.inf
        row = int(rms.argmax())
        if float(rms[row]) > self._rms:
            self._rms = float(rms[row])
            self._pair = obtained[row : row + 1].copy(), expected[row : row + 1].copy()
            self.size = size

    @property
    def relative(self) -> float:
        """The difference over the size of the values, to compare outputs of several kinds."""
        assert self._pair is not None
        with np.errstate(all="ignore"):
            scale = float(np.sqrt(np.square(self._pair[1].astype(np.float64)).mean()))
        return self._rms / max(1.0, scale) if math.isfinite(scale) else self._rms

    def summary(self) -> ErrorSummary:
        """The difference in that row."""
        assert self._pair is not None
        return summarize(*self._pair)
