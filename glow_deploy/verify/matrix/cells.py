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

__all__ = ["CellFigures", "MatrixFigures", "ReferenceFigures", "measure_matrix"]


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
    limit = (_HALF if tolerance is None else tolerance) * 2.0**-n_bits
    walk = _Walk(images=source.name, n_bits=n_bits, dims=dims, limit=limit)
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


class _Cell:
    def __init__(self, pair: tuple[str, str], *, images: str, levels: int, n_bits: int, limit: float) -> None:
        self.x = ErrorAccumulator()
        self.beyond = 0
        self._limit = limit
        self.histogram = ErrorHistogram(n_bits)
        self.worst = WorstImages(_WORST, images=images, encode=pair[0], decode=pair[1], n_bits=n_bits)
        self.exactness = ExactnessAccumulator(n_bits)
        self.z = [ErrorAccumulator() for _ in range(levels)]
        self.bits_between = ErrorAccumulator()
        self.bits_round_trip = ErrorAccumulator()

    def count(self, x_hat: np.ndarray, x: np.ndarray) -> None:
        """Count the images of a batch with an error beyond the limit; one that is not finite is."""
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(x_hat.astype(np.float64) - x).reshape(len(x), -1)
            self.beyond += int(np.count_nonzero(~(error <= self._limit).all(axis=1)))

    def figures(self) -> CellFigures:
        return CellFigures(
            x=self.x.summary(),
            exactness=self.exactness.summary(),
            z=tuple(part.summary() for part in self.z),
            bits_between=self.bits_between.summary(),
            bits_round_trip=self.bits_round_trip.summary(),
            histogram=self.histogram.to_dict(),
            worst=self.worst.images(),
            beyond=self.beyond,
        )


class _Reference:
    def __init__(self, *, levels: int) -> None:
        self.z = [ErrorAccumulator() for _ in range(levels)]
        self.bits = ErrorAccumulator()
        self.x = ErrorAccumulator()

    def figures(self) -> ReferenceFigures:
        return ReferenceFigures(
            z=tuple(part.summary() for part in self.z), bits=self.bits.summary(), x=self.x.summary()
        )


class _Walk:
    """Accumulators that live through all batches."""

    def __init__(self, *, images: str, n_bits: int, dims: int, limit: float) -> None:
        self._limit = limit
        self._images = images
        self._n_bits = n_bits
        self._dims = dims
        self.cells: dict[tuple[str, str], _Cell] = {}
        self.references: dict[str, _Reference] = {}

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
            self.cells[pair] = _Cell(
                pair, images=self._images, levels=len(z_a.z), n_bits=self._n_bits, limit=self._limit
            )
        cell = self.cells[pair]
        first = images.first
        x_hat = b.decode(z_a.z, images.y)
        cell.x.add(x_hat, images.x, first=first)
        cell.count(x_hat, images.x)
        cell.exactness.add(x_hat, images.x, first=first)
        cell.histogram.add(x_hat, images.x)
        cell.worst.add(x_hat, images.x, first=first)
        again = a.encode(x_hat, images.y)
        for accumulator, part, expected in zip(cell.z, again.z, z_a.z, strict=True):
            accumulator.add(part, expected, first=first)
        bits = [bits_per_dim(e.log_prob, dims=self._dims, n_bits=self._n_bits) for e in (z_a, z_b, again)]
        cell.bits_between.add(bits[0], bits[1], first=first)
        cell.bits_round_trip.add(bits[2], bits[0], first=first)

    def _add_reference(self, images: ImageBatch, backend: Backend, z: Encoded, target: TrueValues) -> None:
        figures = self.references.setdefault(backend.name, _Reference(levels=len(z.z)))
        first = images.first
        for accumulator, part, expected in zip(figures.z, z.z, target.z, strict=True):
            accumulator.add(part, expected, first=first)
        got, want = (
            bits_per_dim(value, dims=self._dims, n_bits=self._n_bits) for value in (z.log_prob, target.log_prob)
        )
        figures.bits.add(got, want, first=first)
        figures.x.add(backend.decode(target.z, images.y), target.x_hat, first=first)
