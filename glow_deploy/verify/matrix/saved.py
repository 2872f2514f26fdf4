"""The cells of what another program saved: its latents decoded here, and its own round trip as far as it was saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glow_deploy.numerics.gates import Rules
from glow_deploy.offline import SavedOutputs
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.backends.saved import SAVED
from glow_deploy.verify.report.rows import CellReport, ReferenceReport
from glow_deploy.verify.report.verification import ImageSetReport

from .cells import CellAccumulator, CellFigures, ReferenceAccumulator, ReferenceFigures, image_limit
from .images import ImageBatch, Images
from .judge import judge_cell, judge_reference

__all__ = ["judge_saved", "measure_saved"]


def judge_saved(
    source: Images,
    saved: SavedOutputs,
    backends: Sequence[Backend],
    *,
    report: ImageSetReport,
    rules: Rules,
    n_bits: int,
    dims: int,
    batch: int,
) -> tuple[tuple[CellReport, ...], tuple[ReferenceReport, ...]]:
    """Measure what was saved, and hold it to the limits that a backend is held to.

    Args:
        source: the golden images, with their references.
        saved: what the program made of the first of them.
        backends: that decode its latents here.
        report: on the golden images.
        rules: of the bundle.
        n_bits: of the model.
        dims: values in one image.
        batch: images at a time.
    """
    if saved.images < report.n:  # the yardstick was measured on more of them
        report = replace(report, n=saved.images, paired=False)
    cells, references = measure_saved(
        source,
        saved,
        backends,
        levels=len(report.yardstick.z),
        n_bits=n_bits,
        dims=dims,
        batch=batch,
        limit=image_limit(report.tolerance, n_bits=n_bits),
    )
    return (
        tuple(
            judge_cell(found, images=report, encode=encode, decode=decode, rules=rules, n_bits=n_bits, partly=True)
            for (encode, decode), found in cells.items()
        ),
        tuple(
            judge_reference(found, images=report, backend=name, rules=rules, n_bits=n_bits, partly=True)
            for name, found in references.items()
        ),
    )


def measure_saved(
    source: Images,
    saved: SavedOutputs,
    backends: Sequence[Backend],
    *,
    levels: int,
    n_bits: int,
    dims: int,
    batch: int,
    limit: float,
) -> tuple[dict[tuple[str, str], CellFigures], dict[str, ReferenceFigures]]:
    """Measure it on the golden images that it is of.

    What was not saved leaves its figures without a value (their n is 0). A pair without any image is left out.

    Args:
        source: the golden images, with their references.
        saved: what the program made of the first of them.
        backends: that decode its latents here.
        levels: of the model.
        n_bits: of the model.
        dims: values in one image.
        batch: images at a time.
        limit: error in units of x beyond which an image is counted.

    Returns:
        Cells by (encode, decode), and the comparison with float64 by the backend's name.
    """
    names = [backend.name for backend in backends] if saved.z is not None else []
    names += [SAVED] if saved.returned is not None else []
    cells = {
        (SAVED, name): CellAccumulator(
            (SAVED, name), images=source.name, levels=levels, n_bits=n_bits, dims=dims, limit=limit
        )
        for name in names
    }
    reference = ReferenceAccumulator(levels=levels, n_bits=n_bits, dims=dims)
    for images in source.batches(batch):
        images = images.head(saved.images - images.first)
        if not len(images.x):
            break
        if saved.z is not None:
            for backend in backends:
                _decoded_here(cells[SAVED, backend.name], backend, saved, images)
        if saved.returned is not None:
            _returned(cells[SAVED, SAVED], saved, images)
        _against_reference(reference, saved, images)
    known = any(part is not None for part in (saved.z, saved.log_prob, saved.decoded))
    return {pair: cell.figures() for pair, cell in cells.items()}, {SAVED: reference.figures()} if known else {}


def _decoded_here(cell: CellAccumulator, backend: Backend, saved: SavedOutputs, images: ImageBatch) -> None:
    assert saved.z is not None
    rows, first = _rows(images), images.first
    cell.add_pictures(backend.decode([part[rows] for part in saved.z], images.y), images)
    if saved.log_prob is not None:
        there = backend.encode(images.x, images.y).log_prob
        cell.add_densities(saved.log_prob[rows], there, None, first=first)


def _returned(cell: CellAccumulator, saved: SavedOutputs, images: ImageBatch) -> None:
    assert saved.returned is not None
    rows, first = _rows(images), images.first
    cell.add_pictures(saved.returned[rows], images)
    if saved.z is not None and saved.again_z is not None:
        cell.add_latents([part[rows] for part in saved.again_z], [part[rows] for part in saved.z], first=first)
    if saved.log_prob is not None:
        again = None if saved.again_log_prob is None else saved.again_log_prob[rows]
        cell.add_densities(saved.log_prob[rows], saved.log_prob[rows], again, first=first)


def _against_reference(reference: ReferenceAccumulator, saved: SavedOutputs, images: ImageBatch) -> None:
    target, rows, first = images.reference, _rows(images), images.first
    assert target is not None
    if saved.z is not None:
        reference.add_latents([part[rows] for part in saved.z], target, first=first)
    if saved.log_prob is not None:
        reference.add_densities(saved.log_prob[rows], target, first=first)
    if saved.decoded is not None:
        reference.add_pictures(np.asarray(saved.decoded[rows]), target, first=first)


def _rows(images: ImageBatch) -> slice:
    return slice(images.first, images.first + len(images.x))
