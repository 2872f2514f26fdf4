"""What the scores of whole sets say: summaries in little memory, and how well one set is told from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError
from glow_deploy.numerics.auc import auc, auc_interval

from .score import HeldOut, Scores

__all__ = ["Area", "ScoredSet", "Separation", "SetTally", "separate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSet:
    """A set of pictures after scoring. Means are over the pictures whose figures are all finite.

    Attributes:
        name: what it is called in tables.
        source: where its pictures come from.
        bits_per_dim: float64 [n], of every picture in order; not finite where the encoder overflowed.
        level_squares: float64 [L], mean of z^2 in z1 ... zL; 1 for the model's own samples.
        nonfinite: pictures that have a figure which is not finite.
    """

    name: str
    source: str
    bits_per_dim: npt.NDArray[np.float64]
    level_squares: npt.NDArray[np.float64]
    nonfinite: int

    def __len__(self) -> int:
        return len(self.bits_per_dim)

    @property
    def shown(self) -> npt.NDArray[np.float64]:
        """Bits/dim of the pictures that have a finite one."""
        return self.bits_per_dim[np.isfinite(self.bits_per_dim)]

    def figures(self, reference: HeldOut | None = None) -> dict[str, float]:
        """Mean, standard deviation, median and extremes of the bits/dim, and the mean typicality with a reference.

        NaN where no picture has a finite likelihood.
        """
        shown = self.shown if self.shown.size else np.array([np.nan])
        found = {
            "mean": float(shown.mean()),
            "deviation": float(shown.std(ddof=1)) if shown.size > 1 else 0.0,
            "median": float(np.median(shown)),
            "lowest": float(shown.min()),
            "highest": float(shown.max()),
        }
        if reference is not None:
            found["typicality"] = float(np.abs(shown - reference.mean).mean())
        return found


class SetTally:
    """Takes the scores of a set batch by batch and keeps 8 bytes a picture.

    Args:
        name: what the set is called in tables.
        source: where its pictures come from.
    """

    def __init__(self, name: str, *, source: str) -> None:
        self._name, self._source = name, source
        self._bits: list[npt.NDArray[np.float64]] = []
        self._squares: npt.NDArray[np.float64] | None = None
        self._finite = 0
        self._count = 0

    def add(self, scores: Scores) -> None:
        """Count one batch."""
        finite = scores.finite
        self._bits.append(scores.bits_per_dim)
        total = scores.level_squares[finite].sum(axis=0)
        self._squares = total if self._squares is None else self._squares + total
        self._finite += int(finite.sum())
        self._count += len(scores)

    def result(self) -> ScoredSet:
        """What was counted.

        Raises:
            DataError: nothing was.
        """
        if self._squares is None:
            raise DataError(f"there are no pictures to score in {self._name}")
        with np.errstate(invalid="ignore", divide="ignore"):
            squares = self._squares / self._finite
        return ScoredSet(
            name=self._name,
            source=self._source,
            bits_per_dim=np.concatenate(self._bits),
            level_squares=squares,
            nonfinite=self._count - self._finite,
        )


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area under the ROC curve with its 95 % interval: see `glow_deploy.numerics.auc`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well the pictures of a foreign set are told from those of the model's own kind.

    Attributes:
        own: name of the set of the model's kind.
        foreign: name of the other.
        likelihood: the chance that a foreign picture is less likely than one of the own; below 0.5 the likelihood
            points the wrong way.
        typicality: the chance that a foreign picture is farther from the reference's mean; None without a reference.
    """

    own: str
    foreign: str
    likelihood: Area
    typicality: Area | None


def separate(own: ScoredSet, foreign: ScoredSet, reference: HeldOut | None = None) -> Separation:
    """Measure how well two sets are told apart, by likelihood alone and by typicality.

    A picture without a finite likelihood counts as less likely, and less typical, than any other.

    Examples:
        >>> own, foreign = (
        ...     ScoredSet(name=name, source="", bits_per_dim=np.array(bits), level_squares=np.ones(1), nonfinite=0)
        ...     for name, bits in (("clothes", [2.9, 3.0, 3.1]), ("digits", [1.4, 1.5, 1.6]))
        ... )
        >>> reference = HeldOut(source="more clothes", bits_per_dim=np.array([2.95, 3.05]))
        >>> found = separate(own, foreign, reference)
        >>> found.likelihood.value, found.typicality.value
        (0.0, 1.0)
    """
    foreignness = np.concatenate([np.zeros(len(own), np.bool_), np.ones(len(foreign), np.bool_)])
    bits = np.concatenate([own.bits_per_dim, foreign.bits_per_dim])

    def area(scores: npt.NDArray[np.float64]) -> Area:
        # A finite stand-in: no finite figure, of whatever sign, is as bad as the worst there can be.
        ranked = np.where(np.isfinite(scores), scores, np.finfo(np.float64).max)
        value = auc(ranked, foreignness)
        low, high = auc_interval(value, positives=len(foreign), negatives=len(own))
        return Area(value=value, low=low, high=high)

    return Separation(
        own=own.name,
        foreign=foreign.name,
        likelihood=area(bits),
        typicality=None if reference is None else area(reference.typicality(bits)),
    )
