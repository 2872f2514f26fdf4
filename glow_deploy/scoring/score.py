"""How likely pictures are under the model, and how typical: for finding those that do not belong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_flag, as_seed, as_whole, settle
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import bits_per_dim
from glow_deploy.latents.specs import check_labels, latent_specs, need_role
from glow_deploy.latents.stream import PictureBatch, encoder_batches, picture_batches
from glow_deploy.notebook import html_table
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

__all__ = ["HeldOut", "ScoreSettings", "Scores", "concatenate_scores", "score_images", "score_stream"]


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How to score.

    Attributes:
        draws: dequantisation draws that the likelihood is averaged over, at least 1.
        seed: of the dequantisation noise, 0 .. 2^64-1.
        batch: images run at once.
        best_class: for class-conditional models: score each picture as the class that makes it likeliest, instead of
            with labels.
    """

    draws: int = 8
    seed: int = 0
    batch: int = 64
    best_class: bool = False

    def __post_init__(self) -> None:
        settle(self, as_whole, "draws", least=1)
        settle(self, as_whole, "batch", least=1)
        settle(self, as_seed, "seed")
        settle(self, as_flag, "best_class")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Scores:
    """What the model says about n pictures. A picture that the encoder overflows on has NaN or infinity here.

    Attributes:
        names: one a picture.
        log_prob: float64 [n], nats: natural log density of x in [0, 1)^D, averaged over dequantisation noise.
        bits_per_dim: float64 [n], the same in bits for each of the D dimensions, `n_bits - log_prob / (D ln 2)`: an
            upper bound on the code length of the picture.
        bits_per_dim_centre: float64 [n], at the bin centre instead: systematically lower, only for comparing backends.
        level_squares: float64 [n, L], mean of z^2 in z1 ... zL, averaged over the noise; 1 for the model's own samples.
        labels: int64 [n], the class each was scored as, or None.
    """

    names: tuple[str, ...]
    log_prob: npt.NDArray[np.float64]
    bits_per_dim: npt.NDArray[np.float64]
    bits_per_dim_centre: npt.NDArray[np.float64]
    level_squares: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return f"Scores({len(self)} pictures, {self.bits_per_dim.mean():.4f} bits/dim on average)"

    def _repr_html_(self) -> str:
        levels = self.level_squares.shape[1]
        columns = {
            "picture": self.names,
            "class": self.labels,
            "bits/dim": self.bits_per_dim,
            "log p, nats": self.log_prob,
            **{f"mean z{level + 1}²": self.level_squares[:, level] for level in range(levels)},
        }
        known = {title: values for title, values in columns.items() if values is not None}
        return f"<p>{escape(repr(self))}</p>" + html_table(tuple(known), zip(*known.values(), strict=True))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Bool [n]: whether all figures of a picture are finite."""
        figures = (self.log_prob, self.bits_per_dim_centre, *self.level_squares.T)
        return np.asarray(np.all([np.isfinite(figure) for figure in figures], axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Held-out images of the training data, which typicality is measured against.

    Images of a model are not the likeliest ones: they lie in the typical set, where -log p is close to its mean. The
    distance from that mean is the statistic of the typicality test of Nalisnick et al. 2019, "Detecting
    Out-of-Distribution Inputs to Deep Generative Models Using Typicality", for single images (M = 1). It tells an image
    that is too likely as well as one that is not likely enough. Here in bits/dim, the paper's nats over D ln 2.

    Attributes:
        source: what the images are, in words.
        bits_per_dim: float64 [n], theirs, averaged over dequantisation noise.

    Examples:
        >>> reference = HeldOut(source="held-out faces", bits_per_dim=np.array([2.0, 2.25, 2.5, 2.25]))
        >>> reference.typicality(np.array([0.25, 2.25, 4.25]))
        array([2., 0., 2.])
        >>> reference.p_value(np.array([0.25, 2.25, 4.25]))
        array([0.2, 1. , 0.2])
    """

    source: str
    bits_per_dim: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        bad = int((~np.isfinite(self.bits_per_dim)).sum())
        if bad:
            raise UnsoundModelError(
                f"{bad} of {self.bits_per_dim.size} reference images ({self.source}) have no finite likelihood; run "
                "`glow-deploy verify` on this model, or name other images"
            )
        if self.bits_per_dim.ndim != 1 or self.bits_per_dim.size < 2:
            raise DataError(f"a reference needs at least 2 images, {self.source} gave {self.bits_per_dim.size}")

    def __repr__(self) -> str:
        return f"HeldOut({self.source!r}, {self.bits_per_dim.size} images, mean {self.mean:.4g} bits/dim)"

    @property
    def mean(self) -> float:
        """Mean bits/dim: an estimate of the model's entropy."""
        return float(self.bits_per_dim.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the bits/dim."""
        return float(self.bits_per_dim.std(ddof=1))

    def typicality(self, bits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Distance from the mean, |bits/dim - mean|: 0 is most typical. Infinite where there is no finite figure."""
        distance = np.abs(np.asarray(bits, dtype=np.float64) - self.mean)
        return np.where(np.isnan(distance), np.inf, distance)

    def p_value(self, bits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Share of images of the reference's kind that are as far from the mean or farther: (1 + k) / (1 + n).

        Calling everything below 0.01 an anomaly calls about one in a hundred of the reference's kind one.
        """
        n = self._distances.size
        farther = n - np.searchsorted(self._distances, self.typicality(bits), side="left")
        return np.asarray((1 + farther) / (1 + n))

    @cached_property
    def _distances(self) -> npt.NDArray[np.float64]:
        return np.sort(self.typicality(self.bits_per_dim))


def score_stream(
    encoder: Engine, batches: Iterable[PictureBatch], *, settings: ScoreSettings | None = None, start: int = 0
) -> Iterator[Scores]:
    """Score batch by batch, for sets that do not fit in memory: see `score_images`.

    `settings.batch` is not used: the batches are scored as they come.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> encoder, _ = example_pair()
        >>> batches = (PictureBatch(values=np.full((2, 1, 4, 4), grey, np.uint8)) for grey in (0, 127))
        >>> [len(scores) for scores in score_stream(encoder, batches)]
        [2, 2]
    """
    settings = settings or ScoreSettings()
    levels = [spec.name for spec in latent_specs(encoder.outputs)]
    ready = encoder_batches(
        encoder,
        batches,
        purpose="scoring",
        draws=settings.draws,
        seed=settings.seed,
        choose=_likeliest if settings.best_class else None,
        start=start,
    )
    for batch in ready:
        count = len(batch)
        centre = batch.run(batch.centre())["log_prob"].astype(np.float64)
        log_prob, squares = np.zeros(count), np.zeros((count, len(levels)))
        with np.errstate(invalid="ignore", over="ignore"):  # what overflowed is counted, not warned about
            for x in batch.noisy():
                out = batch.run(x)
                log_prob += out["log_prob"].astype(np.float64) / settings.draws
                for level, name in enumerate(levels):
                    flat = out[name].reshape(count, -1).astype(np.float64)
                    squares[:, level] += (flat**2).mean(axis=1) / settings.draws
        dims = math.prod(batch.pixels.shape[1:])
        yield Scores(
            names=batch.names,
            log_prob=log_prob,
            bits_per_dim=bits_per_dim(log_prob, dims=dims, n_bits=encoder.n_bits),
            bits_per_dim_centre=bits_per_dim(centre, dims=dims, n_bits=encoder.n_bits),
            level_squares=squares,
            labels=batch.labels,
        )


def score_images(
    encoder: Engine,
    values: npt.NDArray[np.uint8],
    *,
    settings: ScoreSettings | None = None,
    names: Sequence[str] | None = None,
    labels: npt.ArrayLike | None = None,
    progress: CountProgress | None = None,
) -> Scores:
    """Measure the likelihood of pictures.

    A high likelihood alone does not make a picture one of the training data's kind: a Glow gives simpler pictures of
    another kind a higher one (Nalisnick et al. 2019, "Do Deep Generative Models Know What They Don't Know?"). See
    `HeldOut`.

    Args:
        encoder: an open encoder.
        values: uint8 [N, C, H, W], 8-bit picture values, N >= 1.
        settings: how to score; None for the defaults.
        names: one a picture; None numbers them from 0.
        labels: [N] whole numbers, for class-conditional models; None with `settings.best_class`.
        progress: called with (done, N) after each batch.

    Returns:
        The scores, also of pictures that the encoder overflows on: see `Scores.finite`.

    Raises:
        UsageError: the engine is a decoder, or labels are missing or not wanted.
        DataError: the pictures do not fit the model, there are none, or a label is no class of it.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> encoder, _ = example_pair()
        >>> grey_and_white = np.stack([np.full((1, 4, 4), 127, np.uint8), np.full((1, 4, 4), 255, np.uint8)])
        >>> scores = score_images(encoder, grey_and_white)
        >>> bool(scores.bits_per_dim[0] < scores.bits_per_dim[1]), scores.level_squares.shape
        (True, (2, 2))
    """
    settings = settings or ScoreSettings()
    total = len(values)
    if names is not None and len(names) != total:
        raise UsageError(f"{len(names)} names were given for {total} pictures")
    need_role(encoder, "encoder", "scoring")
    if settings.best_class and labels is not None:
        raise UsageError("labels were given, and the best class was asked for; leave one of them out")
    every = None if settings.best_class else check_labels(encoder, labels, total)
    batches = picture_batches(values, batch=settings.batch, names=names, labels=every)
    parts = []
    for part in score_stream(encoder, batches, settings=settings):
        parts.append(part)
        if progress is not None:
            progress(sum(map(len, parts)), total)
    return concatenate_scores(parts)


def concatenate_scores(parts: Sequence[Scores]) -> Scores:
    """Join scores by one model into one.

    Raises:
        DataError: there are none.
    """
    if not parts:
        raise DataError("there are no pictures to score")
    labels = [part.labels for part in parts if part.labels is not None]
    return Scores(
        names=tuple(name for part in parts for name in part.names),
        log_prob=np.concatenate([part.log_prob for part in parts]),
        bits_per_dim=np.concatenate([part.bits_per_dim for part in parts]),
        bits_per_dim_centre=np.concatenate([part.bits_per_dim_centre for part in parts]),
        level_squares=np.concatenate([part.level_squares for part in parts]),
        labels=np.concatenate(labels) if len(labels) == len(parts) else None,
    )


def _likeliest(by_class: npt.NDArray[np.float64], _names: Sequence[str]) -> npt.NDArray[np.int64]:
    """A class that the encoder overflows on is the least likely one."""
    return np.asarray(np.where(np.isnan(by_class), -np.inf, by_class).argmax(axis=1))
