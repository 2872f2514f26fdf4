"""What can be scored: picture files, data sets, golden vectors; read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.data import ImageSet, LeftOut, open_images
from glow_deploy.data.fit import Fit
from glow_deploy.data.folder import picture_images
from glow_deploy.data.reading import Reading
from glow_deploy.errors import DataError
from glow_deploy.images import x_to_values
from glow_deploy.latents.coding import PictureBatch
from glow_deploy.progress import CountProgress, StageProgress
from glow_deploy.protocol import Engine

from .score import HeldOut, Scores, ScoreSettings, score_stream
from .sets import ScoredSet, SetTally

__all__ = [
    "LabelChoice",
    "ScoreSource",
    "golden_source",
    "measure_reference",
    "picture_source",
    "reference_source",
    "score_source",
    "set_source",
]

LabelChoice = int | Literal["own"] | None
"""The class that pictures are scored as: one for all; each its own; or none (no classes, or `best_class`)."""

_HELD_OUT = ("checkpoint", "data")  # golden images that are images; `samples` are the model's own


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreSource:
    """Pictures to score.

    Attributes:
        name: what the set is called in tables.
        description: where the pictures come from.
        count: how many there are.
        read: gives those of the numbers first .. last-1; fewer where unreadable ones are left out.
        skipped: what was left out and why; filled while reading.
        notes: what was decided about the pictures, one sentence each.
    """

    name: str
    description: str
    count: int
    read: Callable[[int, int], PictureBatch | None]
    skipped: list[LeftOut] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[PictureBatch]:
        """All of them, at most `size` at once."""
        for first in range(0, self.count, size):
            batch = self.read(first, min(first + size, self.count))
            if batch is not None:
                yield batch


def picture_source(
    files: Sequence[Path],
    *,
    shape: tuple[int, ...],
    resize: bool = False,
    skip_unreadable: bool = False,
    reading: Reading | None = None,
    label: LabelChoice = None,
    name: str = "pictures",
    progress: CountProgress | None = None,
) -> ScoreSource:
    """Picture files, decoded when they are scored.

    Args:
        files: at least one. The headers of all are read first.
        shape: (C, H, W) that the model takes.
        resize: fit pictures of another size or mode.
        skip_unreadable: leave out what cannot be read, instead of failing.
        reading: of how many bits 16-bit files are.
        label: see `LabelChoice`; files have no class of their own.
        name: what the set is called.
        progress: told how many headers have been read.

    Raises:
        DataError: a picture cannot be read or does not fit; `own` labels are asked for.
    """
    if label == "own":
        raise DataError("picture files have no class labels; name one class for all, or take the best")
    fit = Fit(size=(shape[1], shape[2]), channels=shape[0], resize=resize, skip_unreadable=skip_unreadable)
    description = f"{len(files)} picture files"
    images = picture_images(files, fit=fit, reading=reading, description=description, progress=progress)
    return set_source(images, name=name, skip_unreadable=skip_unreadable, label=label)


def set_source(images: ImageSet, *, name: str, skip_unreadable: bool = False, label: LabelChoice = None) -> ScoreSource:
    """A data set; its pictures are named by their files, or by their numbers in the set's own file.

    Args:
        images: the set.
        name: what it is called.
        skip_unreadable: leave out what cannot be read, instead of failing.
        label: see `LabelChoice`.

    Raises:
        DataError: its `own` labels are asked for, and it has none.
    """
    own = images.labels
    if label == "own" and own is None:
        raise DataError(f"{images.description} has no class labels; name one class for all, or take the best")
    skipped = list(images.left_out)

    def read(first: int, last: int) -> PictureBatch | None:
        values, rows = images.batch_of(np.arange(first, last), left_out=skipped if skip_unreadable else None)
        if not len(rows):
            return None
        labels = own[rows] if label == "own" and own is not None else _repeat(label, len(rows))
        return PictureBatch(values=values, names=[images.name(row) for row in rows.tolist()], labels=labels)

    return ScoreSource(
        name=name,
        description=images.description,
        count=len(images),
        read=read,
        skipped=skipped,
        notes=images.notes,
    )


def golden_source(bundle: Bundle, *, label: LabelChoice = None) -> ScoreSource | None:
    """The golden images of a bundle, or None where there are none, or they are the model's own samples.

    Raises:
        BundleError: the golden vectors are damaged.
    """
    if bundle.manifest.golden_source not in _HELD_OUT:
        return None
    golden = bundle.golden()
    if golden is None:
        return None
    values = x_to_values(golden.x, bundle.manifest.n_bits)
    images = ImageSet(
        description=f"the {len(values)} golden images of {bundle.path}",
        shape=bundle.manifest.image_shape,
        count=len(values),
        read=lambda rows: values[rows],
        labels=golden.y,
    )
    return set_source(images, name="reference", label=label)


def reference_source(
    spec: str,
    *,
    shape: tuple[int, ...],
    resize: bool = False,
    limit: int | None = None,
    skip_unreadable: bool = False,
    reading: Reading | None = None,
    label: LabelChoice = None,
    progress: StageProgress | None = None,
) -> ScoreSource:
    """Held-out images: the validation images of a set that names splits, all of one that names none.

    Args:
        spec: as `load_images` takes it.
        shape: (C, H, W) that the model takes.
        resize: fit images of another size.
        limit: at most so many, evenly spread.
        skip_unreadable: leave out what cannot be read, instead of failing.
        reading: what the files do not say about their values.
        label: see `LabelChoice`.
        progress: told how many headers have been read.

    Raises:
        DataError: nothing there, damaged, or images that do not fit.
    """
    opened = open_images(
        spec,
        size=(shape[1], shape[2]),
        channels=shape[0],
        resize=resize,
        skip_unreadable=skip_unreadable,
        reading=reading,
        decode=False,
        progress=progress,
    )
    images = opened.take("test", limit=limit)
    if not images.undivided:
        images = opened.take("validation", limit=limit)
    return set_source(images, name="reference", skip_unreadable=skip_unreadable, label=label)


def score_source(
    encoder: Engine,
    source: ScoreSource,
    *,
    settings: ScoreSettings | None = None,
    take: Callable[[Scores], None] | None = None,
    progress: CountProgress | None = None,
) -> ScoredSet:
    """Score a whole set in bounded memory.

    Args:
        encoder: an open encoder.
        source: the pictures.
        settings: how to score; None for the defaults.
        take: called with the scores of each batch, such as to write them down.
        progress: called with (done, total) after each batch.

    Raises:
        UsageError: the engine is a decoder, or labels are missing or not wanted.
        DataError: a picture cannot be read or does not fit, or not a single one could be read.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> encoder, _ = example_pair(size=(16, 16), channels=3)
        >>> faces = set_source(open_images("faces").take("test", limit=5), name="faces")
        >>> found = score_source(encoder, faces)
        >>> len(found), found.nonfinite
        (5, 0)
    """
    settings = settings or ScoreSettings()
    tally = SetTally(source.name, source=source.description)
    done, before = 0, len(source.skipped)
    for scores in score_stream(encoder, source.batches(settings.batch), settings=settings):
        tally.add(scores)
        if take is not None:
            take(scores)
        done += len(scores)
        if progress is not None:
            progress(done + len(source.skipped) - before, len(source))
    return tally.result()


def measure_reference(
    encoder: Engine,
    source: ScoreSource,
    *,
    settings: ScoreSettings | None = None,
    progress: CountProgress | None = None,
) -> HeldOut:
    """Score held-out images for typicality to be measured against: see `score_source` and `HeldOut`.

    Raises:
        UnsoundModelError: one of them has no finite likelihood.
    """
    found = score_source(encoder, source, settings=settings, progress=progress)
    return HeldOut(source=source.description, bits_per_dim=found.bits_per_dim)


def _repeat(label: LabelChoice, count: int) -> npt.NDArray[np.int64] | None:
    return np.full(count, label, np.int64) if isinstance(label, int) else None
