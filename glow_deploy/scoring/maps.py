"""Maps of surprise of whole sets, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.latents.coding import PictureBatch
from glow_deploy.printable import shown
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

from .sources import ScoreSource
from .surprise import join_surprise, measure_surprise
from .threshold import SurpriseMaps, Threshold, fit_threshold

__all__ = ["check_threshold", "learn_threshold", "map_source"]


def learn_threshold(
    encoder: Engine,
    source: ScoreSource,
    *,
    patch: int,
    rate: float,
    model_id: str,
    batch: int = 64,
    progress: CountProgress | None = None,
) -> Threshold:
    """Learn from held-out images what is normal, and from where on a picture is strange.

    Args:
        encoder: an open encoder.
        source: the images; half of them give the statistics, the other half the threshold.
        patch: size of the patches.
        rate: share of normal pictures that may be called strange.
        model_id: of the model.
        batch: images at once.
        progress: called with (done, total) after each batch.

    Raises:
        UsageError: too few images for the rate, or a number out of range.
        DataError: an image cannot be read or does not fit.
        UnsoundModelError: one of them overflows in the encoder.
    """
    parts = []
    for found in source.batches(batch):
        parts.append(measure_surprise(encoder, found.values, patch=patch, labels=found.labels))
        if progress is not None:
            progress(sum(map(len, parts)), len(source))
    return fit_threshold(
        join_surprise(parts),
        rate=rate,
        model_id=model_id,
        precision=encoder.details.precision,
        source=source.description,
    )


def check_threshold(threshold: Threshold, *, model_id: str | None, source: str) -> None:
    """Refuse a threshold of another model; a plan without a sidecar does not say whose it is.

    Raises:
        DataError: it was learnt with another model.
    """
    if model_id is not None and threshold.model_id != model_id:
        raise DataError(
            f"{source} was learnt with model {shown(threshold.model_id, longest=12)}, this is {model_id[:12]}: learn "
            "it again"
        )


def map_source(
    encoder: Engine,
    source: ScoreSource,
    threshold: Threshold,
    *,
    batch: int = 64,
    progress: CountProgress | None = None,
) -> Iterator[tuple[PictureBatch, SurpriseMaps, npt.NDArray[np.bool_]]]:
    """Look for what is strange in a set of pictures, batch by batch.

    Args:
        encoder: an open encoder.
        source: the pictures.
        threshold: what is normal.
        batch: pictures at once.
        progress: called with (done, total) after each batch.

    Yields:
        Pictures, their maps, and whether each is strange, bool [n].

    Raises:
        DataError: a picture cannot be read or does not fit the model or the threshold.
    """
    done = 0
    for found in source.batches(batch):
        maps = threshold.maps(measure_surprise(encoder, found.values, patch=threshold.patch, labels=found.labels))
        done += len(found.values)
        yield found, maps, maps.highest > threshold.value
        if progress is not None:
            progress(done, len(source))
