"""Attribute directions as in the Glow paper, how well each tells its attribute, and how far one may go along it.

Kingma & Dhariwal (2018), section 6, "Semantic Manipulation": the mean latent of images with an attribute minus that of
images without it. Nothing is rescaled: 1 is the whole distance between the two means, z_pos - z_neg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..data import ImageSet
from ..engines.protocol import Engine, TensorSpec
from ..errors import DataError, UsageError
from .auc import auc, auc_interval
from .coding import EncodeSettings, Latents, PictureBatch, concatenate_latents, encode_stream
from .labelled import LabelledImages
from .reach import Reach, measure_reach
from .soundness import Soundness
from .specs import latent_specs, need_role

__all__ = ["Attribute", "DirectionSettings", "Directions", "Stages", "measure_directions"]

Stages = Callable[[str, int, int], None]
"""Called with (stage, done, total) as work goes on."""


@dataclass(frozen=True, kw_only=True)
class DirectionSettings:
    """How to measure directions.

    Attributes:
        fewest: an attribute needs so many images with it and without it, in both parts of the set.
        limit: how far the ranges are searched, in units of the direction.
        images: held-out images that each end of a range is searched on, at most.
        survival: share of them that stays sound up to the end of the range.
        soundness: what that means.
        batch: images run at once.
        label: for class-conditional models: the class that all images are encoded as; None takes the set's own labels.
        best_class: for class-conditional models: encode each image as the class that makes it likeliest.
    """

    fewest: int = 10
    limit: float = 3.0
    images: int = 32
    survival: float = 0.95
    soundness: Soundness = field(default_factory=Soundness)
    batch: int = 64
    label: int | None = None
    best_class: bool = False

    def __post_init__(self) -> None:
        if self.fewest < 1 or self.images < 1 or self.batch < 1:
            raise UsageError("the numbers of images (fewest, images, batch) must be at least 1")
        if not 0 < self.limit <= 100:
            raise UsageError(f"limit must lie in (0, 100], not {self.limit}")
        if not 0 < self.survival <= 1:
            raise UsageError(f"survival must lie in (0, 1], not {self.survival}")
        if self.best_class and self.label is not None:
            raise UsageError("a class was given, and the best class was asked for; leave one of them out")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribute:
    """The direction of one attribute, and what was measured of it.

    Attributes:
        name: of the attribute.
        vectors: w1 ... wL, float32 [C, H, W]: mean latent with the attribute minus mean latent without it.
        counts: images with and without it that the means are over.
        held_out: images with and without it that it was measured on.
        auc: how well the projection w.z tells those apart; 0.5 is chance.
        auc_interval: its 95 % interval.
        auc_by_level: the same with the part of w.z of each level alone, finest first.
        removing: how far -w can be added to held-out images that have the attribute.
        adding: how far +w can be added to those that do not.
    """

    name: str
    vectors: tuple[npt.NDArray[np.float32], ...]
    counts: tuple[int, int]
    held_out: tuple[int, int]
    auc: float
    auc_interval: tuple[float, float]
    auc_by_level: tuple[float, ...]
    removing: Reach
    adding: Reach

    @property
    def range(self) -> tuple[float, float]:
        """The amounts, least and most, within which the share `survival` of images stayed sound."""
        return -self.removing.amount, self.adding.amount


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """Directions of one model, by attribute.

    Attributes:
        model_id: the model whose latents these are: sha256 of its folded weights.
        source: the images they come from, in words.
        attributes: in the order of the set.
        limit: how far ranges were searched: a range that ends there may reach farther.
        survival: share of images that stays sound within a range.
        soundness: what that means; edits are held to the same.
        left_out: why other attributes of the set are not here; not kept in files.
    """

    model_id: str
    source: str
    attributes: tuple[Attribute, ...]
    limit: float
    survival: float
    soundness: Soundness
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes."""
        return tuple(attribute.name for attribute in self.attributes)

    def __getitem__(self, name: str) -> Attribute:
        """The attribute of that name, or the only one that differs in upper and lower case alone.

        Raises:
            UsageError: there is none.
        """
        exact = [attribute for attribute in self.attributes if attribute.name == name]
        alike = [attribute for attribute in self.attributes if attribute.name.casefold() == name.casefold()]
        if exact or len(alike) == 1:
            return (exact or alike)[0]
        raise UsageError(f"there is no direction for {name!r}; there are {', '.join(self.names)}")


def measure_directions(
    encoder: Engine,
    decoder: Engine,
    images: LabelledImages,
    *,
    model_id: str,
    settings: DirectionSettings | None = None,
    progress: Stages | None = None,
) -> Directions:
    """Average latents by attribute, and measure each direction on held-out images.

    Images pass through once; only sums are kept. An attribute that too few images have or lack is left out, and
    `left_out` says so.

    Args:
        encoder: an open encoder.
        decoder: the decoder of the same model, for the ranges.
        images: with attributes, see `load_labelled`.
        model_id: of the engines.
        settings: how to measure; None for the defaults.
        progress: called with (stage, done, total).

    Raises:
        UsageError: engines of the wrong role, or a class is missing or not wanted.
        DataError: the images do not fit the model, or no attribute has enough of them.
        UnsoundModelError: an image has a non-finite latent, or is not inverted as it is.

    >>> from glow_deploy.data import ImageSet
    >>> from glow_deploy.engines.example import example_pair
    >>> encoder, decoder = example_pair(size=(2, 2))
    >>> bright = np.arange(100) % 2 == 0
    >>> values = np.where(bright, 200, 40).astype(np.uint8)[:, None, None, None] + np.zeros((1, 1, 2, 2), np.uint8)
    >>> whole = ImageSet(description="toys", shape=(1, 2, 2), count=100, read=lambda rows: values[rows],
    ...                  attributes=bright[:, None], attribute_names=("bright",))
    >>> toys = LabelledImages(source="toys", train=whole.select(range(60)), held_out=whole.select(range(60, 100)))
    >>> found = measure_directions(encoder, decoder, toys, model_id="0" * 64)["bright"]
    >>> found.counts, found.held_out, found.auc
    ((30, 30), (20, 20), 1.0)
    >>> found.vectors[0].ravel().tolist()  # z = 4 (x - 0.5), and x goes from (5 + 0.5)/32 to (25 + 0.5)/32
    [2.5, 2.5]
    """
    settings = settings or DirectionSettings()
    need_role(encoder, "encoder", "measuring directions")
    need_role(decoder, "decoder", "measuring directions")
    report = progress or (lambda stage, done, total: None)
    specs = latent_specs(encoder.outputs)
    kept, left_out = _enough(images, settings.fewest)
    if not kept:
        raise DataError(
            f"{images.source}: no attribute has enough images ({'; '.join(map(': '.join, left_out.items()))})"
        )
    vectors = _mean_differences(encoder, images.train, kept, specs, settings, report)
    scores = _scores(encoder, images.held_out, vectors, settings, report)
    present = _flags(images.held_out)[:, kept]
    attributes = []
    for column, number in enumerate(kept):
        report("searching ranges", column, len(kept))
        having, lacking = np.flatnonzero(present[:, column]), np.flatnonzero(~present[:, column])
        own = tuple(level[column] for level in vectors)
        value = auc(scores[column].sum(axis=1), present[:, column])

        def search(rows: npt.NDArray[np.int64], sign: float, own: tuple[np.ndarray, ...] = own) -> Reach:
            latents = _encode(encoder, images.held_out, _spread(rows, settings.images), settings)
            step = [np.float32(sign) * level for level in own]
            return measure_reach(
                encoder,
                decoder,
                latents,
                step,
                limit=settings.limit,
                survival=settings.survival,
                soundness=settings.soundness,
                batch=settings.batch,
            )

        train = _flags(images.train)[:, number]
        attributes.append(
            Attribute(
                name=images.names[number],
                vectors=own,
                counts=(int(train.sum()), int((~train).sum())),
                held_out=(len(having), len(lacking)),
                auc=value,
                auc_interval=auc_interval(value, positives=len(having), negatives=len(lacking)),
                auc_by_level=tuple(auc(scores[column][:, level], present[:, column]) for level in range(len(specs))),
                removing=search(having, -1.0),
                adding=search(lacking, 1.0),
            )
        )
    report("searching ranges", len(kept), len(kept))
    return Directions(
        model_id=model_id,
        source=images.source,
        attributes=tuple(attributes),
        limit=settings.limit,
        survival=settings.survival,
        soundness=settings.soundness,
        left_out=left_out,
    )


def _flags(images: ImageSet) -> npt.NDArray[np.bool_]:
    assert images.attributes is not None
    return images.attributes


def _enough(images: LabelledImages, fewest: int) -> tuple[list[int], dict[str, str]]:
    """Numbers of the attributes that can be measured, and why the others cannot."""
    kept, left_out = [], {}
    for number, name in enumerate(images.names):
        sides = {
            f"{part} {word} it": int(flags.sum())
            for part, whole in (("averaged", images.train), ("held-out", images.held_out))
            for word, flags in (("with", _flags(whole)[:, number]), ("without", ~_flags(whole)[:, number]))
        }
        poor = [f"{count} {side}" for side, count in sides.items() if count < fewest]
        if poor:
            left_out[name] = f"only {', '.join(poor)} (at least {fewest} needed)"
        else:
            kept.append(number)
    return kept, left_out


def _mean_differences(
    encoder: Engine,
    images: ImageSet,
    kept: Sequence[int],
    specs: Sequence[TensorSpec],
    settings: DirectionSettings,
    report: Stages,
) -> tuple[npt.NDArray[np.float32], ...]:
    """w1 ... wL, float32 [K, C, H, W], of the attributes `kept`."""
    flags = _flags(images)[:, kept]
    having = [np.zeros((len(kept), *spec.shape)) for spec in specs]
    every = [np.zeros(spec.shape) for spec in specs]
    done = 0
    for latents in _encode_all(encoder, images, settings):
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


def _scores(
    encoder: Engine,
    images: ImageSet,
    vectors: Sequence[npt.NDArray[np.float32]],
    settings: DirectionSettings,
    report: Stages,
) -> npt.NDArray[np.float64]:
    """w.z of every held-out image, for every attribute and level: float64 [K, N, L]."""
    found = np.empty((len(vectors[0]), len(images), len(vectors)))
    done = 0
    for latents in _encode_all(encoder, images, settings):
        for level, (z, w) in enumerate(zip(latents.z, vectors, strict=True)):
            found[:, done : done + len(z), level] = np.tensordot(
                w.astype(np.float64), z.astype(np.float64), axes=((1, 2, 3), (1, 2, 3))
            )
        done += len(latents)
        report("measuring on held-out images", done, len(images))
    return found


def _encode_all(encoder: Engine, images: ImageSet, settings: DirectionSettings) -> Iterator[Latents]:
    return _stream(encoder, images, np.arange(len(images)), settings)


def _encode(encoder: Engine, images: ImageSet, rows: npt.NDArray[np.int64], settings: DirectionSettings) -> Latents:
    return concatenate_latents(list(_stream(encoder, images, rows, settings)))


def _stream(
    encoder: Engine, images: ImageSet, rows: npt.NDArray[np.int64], settings: DirectionSettings
) -> Iterator[Latents]:
    def batches() -> Iterator[PictureBatch]:
        for first in range(0, len(rows), settings.batch):
            part = rows[first : first + settings.batch]
            yield PictureBatch(
                values=images.batch(part),
                names=[f"image {row} of {images.description}" for row in part],
                labels=_classes(encoder, images, part, settings),
            )

    return encode_stream(encoder, batches(), settings=EncodeSettings(draws=0, best_class=settings.best_class))


def _classes(
    encoder: Engine, images: ImageSet, rows: npt.NDArray[np.int64], settings: DirectionSettings
) -> npt.NDArray[np.int64] | None:
    if settings.label is not None:
        return np.full(len(rows), settings.label, np.int64)
    # A model without classes takes none, though the set may have some.
    if settings.best_class or encoder.num_classes is None or images.labels is None:
        return None
    return images.labels[rows]


def _spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most `count` of these rows, evenly spread."""
    if len(rows) <= count:
        return rows
    return rows[np.arange(count) * len(rows) // count]
