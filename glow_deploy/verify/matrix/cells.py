"""Encode on A, decode on B, for every pair of backends, image batch by image batch in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glow_deploy.artifact.figures import Figures
from glow_deploy.images import bits_per_dim
from glow_deploy.numerics.histogram import ErrorHistogram
from glow_deploy.numerics.measures import ErrorAccumulator, ErrorSummary, Exactness, ExactnessAccumulator
from glow_deploy.numerics.worst import WorstImage, WorstImages
from glow_deploy.numerics.yardstick import Yardstick
from glow_deploy.progress import CountProgress
from glow_deploy.verify.backends.backend import Backend, Encoded

from .images import ImageBatch, Images, TrueValues

__all__ = [
    "CellAccumulator",
    "CellFigures",
    "MatrixFigures",
    "ReferenceAccumulator",
    "ReferenceFigures",
    "image_limit",
    "measure_matrix",
]


_HALF = 0.5  # of a pixel step
_WORST = 3  # images kept of each cell, to be looked at


@dataclass(frozen=True, kw_only=True)
class CellFigures:
    """Errors of one pair; the fields are those of `CellReport`, and `beyond` counts images beyond the tolerance."""

    x: ErrorSummary
    exactness: Exactness
    z: tuple[ErrorSummary, ...]
    bits_between: ErrorSummary
    bits_round_trip: ErrorSummary
    histogram: Mapping[str, Any]
    worst: tuple[WorstImage, ...]
    beyond: int = 0


@dataclass(frozen=True, kw_only=True)
class ReferenceFigures:
    """Errors of one backend against the float64 reference; the fields are those of `ReferenceReport`."""

    z: tuple[ErrorSummary, ...]
    bits: ErrorSummary
    x: ErrorSummary


@dataclass(frozen=True, kw_only=True)
class MatrixFigures:
    """All errors on one set of images.

    Attributes:
        cells: by (encode, decode).
        references: by backend; empty where there is no reference.
        yardstick: measured on these images, where the trained model was there to run.
    """

    cells: dict[tuple[str, str], CellFigures]
    references: dict[str, ReferenceFigures]
    yardstick: Yardstick | None


def measure_matrix(
    source: Images,
    backends: Sequence[Backend],
    *,
    n_bits: int,
    dims: int,
    batch: int,
    reference: Backend | None = None,
    yardstick: Backend | None = None,
    tolerance: float | None = None,
    progress: CountProgress | None = None,
) -> MatrixFigures:
    """Run the matrix over a set of images.

    N backends take N encodes, N^2 decodes and N^2 re-encodes of every image, plus N decodes of the reference's latents.

    Args:
        source: the images.
        backends: those of the matrix.
        n_bits: of the model.
        dims: values in one image.
        batch: images at a time.
        reference: float64 backend for images that bring no reference along.
        yardstick: float32 backend of the trained model, to measure the yardstick on these very images.
        tolerance: in pixel steps, to count the images beyond it; None for half a step.
        progress: called with (images done, images in all).

    Returns:
        The errors.
    """
    names = [(a.name, b.name) for a in backends for b in backends]
    walk = _Walk(images=source.name, n_bits=n_bits, dims=dims, limit=image_limit(tolerance, n_bits=n_bits))
    everyone = {backend.name: backend for backend in backends}
    if yardstick is not None:
        everyone.setdefault(yardstick.name, yardstick)
        if (yardstick.name, yardstick.name) not in names:
            names.append((yardstick.name, yardstick.name))
    done, total = 0, len(source)
    for images in source.batches(batch):
        walk.add(images, everyone, names, reference=reference)
        done += len(images.x)
        if progress is not None:
            progress(done, total)
    cells = {pair: cell.figures() for pair, cell in walk.cells.items()}
    references = {name: figures.figures() for name, figures in walk.references.items()}
    measured = None
    if yardstick is not None and yardstick.name in references:
        measured = _yardstick(
            cells[yardstick.name, yardstick.name], references[yardstick.name], name=source.name, n=total
        )
    kept = {backend.name for backend in backends}
    return MatrixFigures(
        cells={pair: figures for pair, figures in cells.items() if kept.issuperset(pair)},
        references={name: figures for name, figures in references.items() if name in kept},
        yardstick=measured,
    )


def image_limit(tolerance: float | None, *, n_bits: int) -> float:
    """The error in units of x beyond which an image is counted, for a tolerance in pixel steps; None is half a step."""
    return (_HALF if tolerance is None else tolerance) * 2.0**-n_bits


def _yardstick(cell: CellFigures, reference: ReferenceFigures, *, name: str, n: int) -> Yardstick:
    return Yardstick(
        n=n,
        source=f"PyTorch float32 on the same {n} {name} images, measured now",
        x_hat=Figures.of(cell.x),
        z=tuple(Figures.of(summary) for summary in reference.z),
        bits_per_dim=Figures.of(reference.bits),
        zxz=tuple(Figures.of(summary) for summary in cell.z),
        non_finite=cell.x.non_finite,
    )


class CellAccumulator:
    """The errors of one pair, added batch by batch.

    Args:
        pair: (encode, decode).
        images: name of the set.
        levels: of the model.
        n_bits: of the model.
        dims: values in one image.
        limit: error in units of x beyond which an image is counted.
    """

    def __init__(
        self, pair: tuple[str, str], *, images: str, levels: int, n_bits: int, dims: int, limit: float
    ) -> None:
        self._x = ErrorAccumulator()
        self._beyond = 0
        self._limit, self._dims, self._n_bits = limit, dims, n_bits
        self._histogram = ErrorHistogram(n_bits)
        self._worst = WorstImages(_WORST, images=images, encode=pair[0], decode=pair[1], n_bits=n_bits)
        self._exactness = ExactnessAccumulator(n_bits)
        self._z = [ErrorAccumulator() for _ in range(levels)]
        self._bits_between = ErrorAccumulator()
        self._bits_round_trip = ErrorAccumulator()

    def add_pictures(self, x_hat: np.ndarray, images: ImageBatch) -> None:
        """Add reconstructions of a batch of images."""
        x, first = images.x, images.first
        self._x.add(x_hat, x, first=first)
        # An image with an error beyond the limit is counted; one that is not finite is beyond any.
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(x_hat.astype(np.float64) - x).reshape(len(x), -1)
            self._beyond += int(np.count_nonzero(~(error <= self._limit).all(axis=1)))
        self._exactness.add(x_hat, x, first=first)
        self._histogram.add(x_hat, x)
        self._worst.add(x_hat, x, first=first)

    def add_latents(self, again: Sequence[np.ndarray], z: Sequence[np.ndarray], *, first: int) -> None:
        """Add the latents of reconstructions, against those that they were decoded from."""
        for accumulator, part, expected in zip(self._z, again, z, strict=True):
            accumulator.add(part, expected, first=first)

    def add_densities(
        self, here: np.ndarray, there: np.ndarray | None, again: np.ndarray | None, *, first: int
    ) -> None:
        """Add log densities [N]: of the encoder, and where they are known of the decoder's backend and of x_hat."""
        bits = bits_per_dim(here, dims=self._dims, n_bits=self._n_bits)
        if there is not None:
            self._bits_between.add(bits, bits_per_dim(there, dims=self._dims, n_bits=self._n_bits), first=first)
        if again is not None:
            self._bits_round_trip.add(bits_per_dim(again, dims=self._dims, n_bits=self._n_bits), bits, first=first)

    def figures(self) -> CellFigures:
        """The errors so far."""
        return CellFigures(
            x=self._x.summary(),
            exactness=self._exactness.summary(),
            z=tuple(part.summary() for part in self._z),
            bits_between=self._bits_between.summary(),
            bits_round_trip=self._bits_round_trip.summary(),
            histogram=self._histogram.to_dict(),
            worst=self._worst.images(),
            beyond=self._beyond,
        )


class ReferenceAccumulator:
    """The errors of one backend against float64, added batch by batch."""

    def __init__(self, *, levels: int, n_bits: int, dims: int) -> None:
        self._n_bits, self._dims = n_bits, dims
        self._z = [ErrorAccumulator() for _ in range(levels)]
        self._bits = ErrorAccumulator()
        self._x = ErrorAccumulator()

    def add_latents(self, z: Sequence[np.ndarray], target: TrueValues, *, first: int) -> None:
        """Add the latents of a batch of images."""
        for accumulator, part, expected in zip(self._z, z, target.z, strict=True):
            accumulator.add(part, expected, first=first)

    def add_densities(self, log_prob: np.ndarray, target: TrueValues, *, first: int) -> None:
        """Add their log densities [N]."""
        got, want = (bits_per_dim(value, dims=self._dims, n_bits=self._n_bits) for value in (log_prob, target.log_prob))
        self._bits.add(got, want, first=first)

    def add_pictures(self, x_hat: np.ndarray, target: TrueValues, *, first: int) -> None:
        """Add what was decoded from the reference's latents."""
        self._x.add(x_hat, target.x_hat, first=first)

    def figures(self) -> ReferenceFigures:
        """The errors so far."""
        return ReferenceFigures(
            z=tuple(part.summary() for part in self._z), bits=self._bits.summary(), x=self._x.summary()
        )


class _Walk:
    """Accumulators that live through all batches."""

    def __init__(self, *, images: str, n_bits: int, dims: int, limit: float) -> None:
        self._limit = limit
        self._images = images
        self._n_bits = n_bits
        self._dims = dims
        self.cells: dict[tuple[str, str], CellAccumulator] = {}
        self.references: dict[str, ReferenceAccumulator] = {}

    def add(
        self,
        images: ImageBatch,
        backends: dict[str, Backend],
        pairs: Sequence[tuple[str, str]],
        *,
        reference: Backend | None,
    ) -> None:
        encoded = {name: backend.encode(images.x, images.y) for name, backend in backends.items()}
        for a, b in pairs:
            self._add_cell(images, backends[a], backends[b], encoded[a], encoded[b])
        target = images.reference
        if target is None and reference is not None:
            latents = encoded.get(reference.name) or reference.encode(images.x, images.y)
            target = TrueValues(z=latents.z, log_prob=latents.log_prob, x_hat=reference.decode(latents.z, images.y))
        if target is not None:
            for name, backend in backends.items():
                self._add_reference(images, backend, encoded[name], target)

    def _add_cell(self, images: ImageBatch, a: Backend, b: Backend, z_a: Encoded, z_b: Encoded) -> None:
        pair = (a.name, b.name)
        if pair not in self.cells:
            self.cells[pair] = CellAccumulator(
                pair,
                images=self._images,
                levels=len(z_a.z),
                n_bits=self._n_bits,
                dims=self._dims,
                limit=self._limit,
            )
        cell, first = self.cells[pair], images.first
        x_hat = b.decode(z_a.z, images.y)
        cell.add_pictures(x_hat, images)
        again = a.encode(x_hat, images.y)
        cell.add_latents(again.z, z_a.z, first=first)
        cell.add_densities(z_a.log_prob, z_b.log_prob, again.log_prob, first=first)

    def _add_reference(self, images: ImageBatch, backend: Backend, z: Encoded, target: TrueValues) -> None:
        if backend.name not in self.references:
            self.references[backend.name] = ReferenceAccumulator(levels=len(z.z), n_bits=self._n_bits, dims=self._dims)
        figures, first = self.references[backend.name], images.first
        figures.add_latents(z.z, target, first=first)
        figures.add_densities(z.log_prob, target, first=first)
        figures.add_pictures(backend.decode(target.z, images.y), target, first=first)
