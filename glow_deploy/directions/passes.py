"""One pass over images for sums by attribute, one for projections: never more than a batch of latents at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.data import ImageSet
from glow_deploy.latents.coding import EncodeSettings, Latents, PictureBatch, concatenate_latents, encode_stream
from glow_deploy.latents.specs import latent_specs
from glow_deploy.progress import StageProgress
from glow_deploy.protocol import Engine

__all__ = ["Encoding", "flags_of", "mean_differences", "projections"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """How images become latents.

    Attributes:
        encoder: open.
        batch: images run at once.
        label: for class-conditional models: the class of all images; None takes each image's own label.
        best_class: for class-conditional models: whichever class makes an image likeliest.
    """

    encoder: Engine
    batch: int
    label: int | None = None
    best_class: bool = False

    def stream(self, images: ImageSet, rows: npt.NDArray[np.int64] | None = None) -> Iterator[Latents]:
        """Encode some of the images, or all of them, batch by batch."""
        rows = np.arange(len(images)) if rows is None else rows

        def batches() -> Iterator[PictureBatch]:
            for first in range(0, len(rows), self.batch):
                part = rows[first : first + self.batch]
                yield PictureBatch(
                    values=images.batch(part),
                    names=[f"image {row} of {images.description}" for row in part],
                    labels=self._classes(images, part),
                )

        return encode_stream(self.encoder, batches(), settings=EncodeSettings(draws=0, best_class=self.best_class))

    def some(self, images: ImageSet, rows: npt.NDArray[np.int64], count: int) -> Latents:
        """Encode at most `count` of these rows, evenly spread."""
        chosen = rows if len(rows) <= count else rows[np.arange(count) * len(rows) // count]
        return concatenate_latents(list(self.stream(images, chosen)))

    def _classes(self, images: ImageSet, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        if self.label is not None:
            return np.full(len(rows), self.label, np.int64)
        # A model without classes takes none, though the set may have some.
        if self.best_class or self.encoder.num_classes is None or images.labels is None:
            return None
        return images.labels[rows]


def flags_of(images: ImageSet) -> npt.NDArray[np.bool_]:
    """The attributes of a set that is known to have some, bool [N, K]."""
    assert images.attributes is not None
    return images.attributes


def mean_differences(
    encoding: Encoding, images: ImageSet, kept: Sequence[int], report: StageProgress
) -> tuple[npt.NDArray[np.float32], ...]:
    """Mean latent with an attribute minus mean latent without it: w1 ... wL, float32 [K, C, H, W].

    Args:
        encoding: how images become latents.
        images: with attributes.
        kept: numbers of the K attributes; each is there in some images and missing in others.
        report: told how far it is.
    """
    flags = flags_of(images)[:, kept]
    specs = latent_specs(encoding.encoder.outputs)
    having = [np.zeros((len(kept), *spec.shape)) for spec in specs]
    every = [np.zeros(spec.shape) for spec in specs]
    done = 0
    for latents in encoding.stream(images):
        part = flags[done : done + len(latents)].astype(np.float64)
        for level, z in enumerate(latents.z):
            exact = z.astype(np.float64)
            having[level] += np.tensordot(part, exact, axes=(0, 0))
            every[level] += exact.sum(axis=0)
        done += len(latents)
        report("averaging latents", done, len(images))
    counts = flags.sum(axis=0).astype(np.float64)[:, None, None, None]
    return tuple(
        (with_it / counts - (whole - with_it) / (len(images) - counts)).astype(np.float32)
        for with_it, whole in zip(having, every, strict=True)
    )


def projections(
    encoding: Encoding, images: ImageSet, vectors: Sequence[npt.NDArray[np.float32]], report: StageProgress
) -> npt.NDArray[np.float64]:
    """w.z of every image, for every direction and level: float64 [K, N, L]."""
    found = np.empty((len(vectors[0]), len(images), len(vectors)))
    done = 0
    for latents in encoding.stream(images):
        for level, (z, w) in enumerate(zip(latents.z, vectors, strict=True)):
            found[:, done : done + len(z), level] = np.tensordot(
                w.astype(np.float64), z.astype(np.float64), axes=((1, 2, 3), (1, 2, 3))
            )
        done += len(latents)
        report("measuring on held-out images", done, len(images))
    return found
