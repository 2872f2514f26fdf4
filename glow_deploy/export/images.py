"""Choosing the images that become golden vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.data import class_rounds, load_images
from glow_deploy.errors import CheckpointError, UnsoundModelError
from glow_deploy.images import pixels_to_x, values_to_x

from .reference import TrainedReference
from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint

__all__ = ["GoldenImages", "choose_images"]

_SAMPLE_TEMPERATURE = 0.7
_SAMPLE_SEED = 0
_SAMPLE_TRIES = 8
_NAMED = 16
_CHECKED_WITHOUT_GOLDEN = 4  # images for the self-check, which repeats them as it needs


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenImages:
    """Images at bin centres.

    Attributes:
        x: [N,C,H,W] float32.
        y: [N] int64 class labels, or None for an unconditional model.
        source: `data`, `checkpoint` or `samples`.
        notes: what was decided about them, and what was left out.
    """

    x: np.ndarray
    y: np.ndarray | None
    source: str
    notes: tuple[str, ...] = ()


def choose_images(
    checkpoint: Checkpoint, reference: TrainedReference, settings: ExportSettings, *, at_least: int = 1
) -> GoldenImages:
    """Take images from `--data`, else from the checkpoint, else from the model itself at T = 0.7.

    For class-conditional models the classes take turns, so that as many as possible are covered.

    Args:
        checkpoint: for the images it carries.
        reference: draws samples.
        settings: say how many, and where from.
        at_least: images wanted even where fewer are to be kept. Data and checkpoints may hold less.

    Raises:
        DataError: the data do not fit the model.
        CheckpointError: the labels that the checkpoint carries are not classes of its model.
        UnsoundModelError: the model's own samples are not finite.
    """
    count = max(at_least, settings.golden or _CHECKED_WITHOUT_GOLDEN)
    config = reference.config
    if settings.data is not None:
        return _from_data(settings.data, reference, count, settings)
    if (
        checkpoint.images is not None
        and len(checkpoint.images)
        and (config.num_classes is None) == (checkpoint.labels is None)
    ):
        y = checkpoint.labels
        problem = _label_problem(y, config.num_classes)
        if problem is not None:
            raise CheckpointError(f"the images in the checkpoint: {problem}; give others with data=")
        rows = np.arange(min(count, len(checkpoint.images))) if y is None else class_rounds(y, count)
        x = pixels_to_x(checkpoint.images[rows], config.n_bits)
        return GoldenImages(x=x, y=None if y is None else y[rows], source="checkpoint")
    return _from_samples(reference, count)


def _from_data(spec: str, reference: TrainedReference, count: int, settings: ExportSettings) -> GoldenImages:
    config = reference.config
    classes = config.num_classes
    images = load_images(
        spec,
        split="test",
        size=config.image_size,
        channels=config.channels,
        resize=settings.resize,
        skip_unreadable=settings.skip_unreadable,
        reading=settings.reading,
        limit=count if classes is None else None,
    )
    y = None if classes is None else images.labels_for(classes)
    rows = np.arange(min(count, len(images))) if y is None else class_rounds(y, count)
    x = values_to_x(images.batch(rows), config.n_bits)
    left_out = [left.name for left in images.left_out]
    notes = images.notes
    if left_out:
        shown = ", ".join(left_out[:_NAMED]) + (
            f" and {len(left_out) - _NAMED:,} more" if len(left_out) > _NAMED else ""
        )
        notes = (*notes, f"left out, because they cannot be read: {len(left_out):,} ({shown})")
    return GoldenImages(x=x, y=None if y is None else y[rows], source="data", notes=notes)


def _label_problem(y: np.ndarray | None, classes: int | None) -> str | None:
    """Say what is wrong with labels, if anything is."""
    if y is None or classes is None or not len(y) or (y.min() >= 0 and y.max() < classes):
        return None
    return f"class labels lie in {y.min()}..{y.max()}, the model knows 0..{classes - 1}"


def _from_samples(reference: TrainedReference, count: int) -> GoldenImages:
    classes = reference.config.num_classes
    kept: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for attempt in range(_SAMPLE_TRIES):
        y = None if classes is None else np.arange(count, dtype=np.int64) % classes
        x = reference.sample_images(count, temperature=_SAMPLE_TEMPERATURE, seed=_SAMPLE_SEED + attempt, y=y)
        finite = np.isfinite(x).all(axis=(1, 2, 3))
        kept.append(x[finite])
        if y is not None:
            labels.append(y[finite])
        if sum(map(len, kept)) >= count:
            return GoldenImages(
                x=np.concatenate(kept)[:count],
                y=np.concatenate(labels)[:count] if labels else None,
                source="samples",
            )
    drawn = _SAMPLE_TRIES * count
    raise UnsoundModelError(
        f"only {sum(map(len, kept))} of {drawn} images drawn from the model at T={_SAMPLE_TEMPERATURE} are finite; "
        "give real images with data="
    )
