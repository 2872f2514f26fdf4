"""Attribute directions as in the Glow paper, how well each tells its attribute, and how far one may go along it.

Kingma & Dhariwal (2018), section 6, "Semantic Manipulation": the mean latent of images with an attribute minus that of
images without it. Nothing is rescaled: 1 is the whole distance between the two means, z_pos - z_neg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_flag, as_instance, as_real, as_whole, settle
from glow_deploy.errors import DataError, UsageError
from glow_deploy.latents.specs import need_role
from glow_deploy.numerics.auc import auc, auc_interval
from glow_deploy.progress import StageProgress
from glow_deploy.protocol import Engine

from .labelled import LabelledImages
from .passes import Encoding, flags_of, mean_differences, projections
from .reach import Reach, measure_reach
from .soundness import Soundness

__all__ = ["Attribute", "DirectionSettings", "Directions", "measure_directions"]

_SHOWN = 3  # attributes in a message


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
        settle(self, as_whole, "fewest", "images", "batch", least=1)
        settle(self, as_real, "limit", above=0, most=100)
        settle(self, as_real, "survival", above=0, most=1)
        settle(self, as_instance, "soundness", kind=Soundness)
        settle(self, as_whole, "label", optional=True, least=0)
        settle(self, as_flag, "best_class")
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
    progress: StageProgress | None = None,
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

    Examples:
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
    kept, left_out = _enough(images, settings.fewest)
    if not kept:
        shown = [f"{name}: {reason}" for name, reason in list(left_out.items())[:_SHOWN]]
        more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        raise DataError(f"{images.source}: no attribute has enough images ({'; '.join(shown)}{more})")
    encoding = Encoding(encoder=encoder, batch=settings.batch, label=settings.label, best_class=settings.best_class)
    vectors = mean_differences(encoding, images.train, kept, report)
    scores = projections(encoding, images.held_out, vectors, report)
    present = flags_of(images.held_out)[:, kept]
    attributes = []
    for column, number in enumerate(kept):
        report("searching ranges", column, len(kept))
        having, lacking = np.flatnonzero(present[:, column]), np.flatnonzero(~present[:, column])
        own = tuple(level[column] for level in vectors)
        value = auc(scores[column].sum(axis=1), present[:, column])

        def search(rows: npt.NDArray[np.int64], sign: float, own: tuple[np.ndarray, ...] = own) -> Reach:
            return measure_reach(
                encoder,
                decoder,
                encoding.some(images.held_out, rows, settings.images),
                [np.float32(sign) * level for level in own],
                limit=settings.limit,
                survival=settings.survival,
                soundness=settings.soundness,
                batch=settings.batch,
            )

        train = flags_of(images.train)[:, number]
        attributes.append(
            Attribute(
                name=images.names[number],
                vectors=own,
                counts=(int(train.sum()), int((~train).sum())),
                held_out=(len(having), len(lacking)),
                auc=value,
                auc_interval=auc_interval(value, positives=len(having), negatives=len(lacking)),
                auc_by_level=tuple(auc(scores[column][:, level], present[:, column]) for level in range(len(vectors))),
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


def _enough(images: LabelledImages, fewest: int) -> tuple[list[int], dict[str, str]]:
    """Numbers of the attributes that can be measured, and why the others cannot."""
    kept, left_out = [], {}
    for number, name in enumerate(images.names):
        sides = {
            f"{part} {word} it": int(flags.sum())
            for part, whole in (("averaged", images.train), ("held-out", images.held_out))
            for word, flags in (("with", flags_of(whole)[:, number]), ("without", ~flags_of(whole)[:, number]))
        }
        poor = [f"{count} {side}" for side, count in sides.items() if count < fewest]
        if poor:
            left_out[name] = f"only {', '.join(poor)} (at least {fewest} needed)"
        else:
            kept.append(number)
    return kept, left_out
