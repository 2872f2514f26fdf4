"""The rows of a stress report: plain values, ready for a table or a JSON file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

__all__ = [
    "GEOMETRIC",
    "RECOVERED",
    "AttackReport",
    "AttackedBackend",
    "DeterminismRow",
    "InputRow",
    "PassRow",
    "StressFailure",
    "TemperatureRow",
]

# Drift after k passes over k times the drift after one: 1 where every pass adds the same error, 1/sqrt(k) where the
# errors are independent. Growth by a sixth each pass gives 2 after nine.
GEOMETRIC = 2.0
# Latents count as recovered up to this rms error, a hundredth of the standard deviation of one.
RECOVERED = 1e-2


@dataclass(frozen=True, kw_only=True)
class InputRow:
    """x -> z -> x of one kind of image on one backend.

    Attributes:
        backend: which.
        name: kind of image, as `stress_images` names it, or `golden`.
        n: images.
        non_finite: images with a NaN or an infinite value in their latents, log_prob or decode.
        stage: where the first of these shows: `latents`, `log_prob` or `decode`; empty if there is none.
        rms: of the error, over its finite values, in units of x.
        max: largest |error|, likewise.
        images_exact: images of which every pixel is back in its bin.
    """

    backend: str
    name: str
    n: int
    non_finite: int
    stage: str
    rms: float
    max: float
    images_exact: int

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return _plain(self)


@dataclass(frozen=True, kw_only=True)
class TemperatureRow:
    """Latents drawn at one temperature, decoded and encoded again on one backend.

    Attributes:
        backend: which.
        temperature: T.
        n: draws.
        non_finite: draws whose decode holds a NaN or an infinite value.
        largest: largest |x - 0.5| of the finite values; 0.5 is the edge of the image range.
        z_rms: error of z -> x -> z over all levels, of the draws that stay finite both ways.
        z_non_finite: draws whose decode is finite and whose latents, encoded again, are not.
    """

    backend: str
    temperature: float
    n: int
    non_finite: int
    largest: float
    z_rms: float
    z_non_finite: int

    @property
    def recovered(self) -> bool:
        """True where every draw stays finite both ways and comes back as the latents it was."""
        return self.non_finite == 0 and self.z_non_finite == 0 and self.z_rms <= RECOVERED

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {**_plain(self), "recovered": self.recovered}


@dataclass(frozen=True, kw_only=True)
class PassRow:
    """Golden images after a number of passes of encode -> decode on one backend, never clamped.

    Attributes:
        backend: which.
        passes: how many.
        n: images.
        non_finite: images with a NaN or an infinite value.
        rms: of the drift from the image, over its finite values, in units of x.
        max: largest |drift|, likewise.
        images_exact: images of which every pixel is still in its bin.
        growth: drift over what equal passes would add up to from the first row; NaN in the first row, and where that
            one shows no drift.
    """

    backend: str
    passes: int
    n: int
    non_finite: int
    rms: float
    max: float
    images_exact: int
    growth: float

    @property
    def geometric(self) -> bool:
        """True where each pass adds more than the one before, beyond what rounding explains."""
        return self.growth > GEOMETRIC

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return _plain(self)


@dataclass(frozen=True, kw_only=True)
class AttackedBackend:
    """The images that the attack ended with, on one backend. Errors are rms over one image, in units of x.

    Attributes:
        backend: which.
        images: how many.
        non_finite: images with a NaN or an infinite value in their decode.
        start_rms: mean over the images at the random points that the attack started from.
        mean_rms: mean over the attacked images.
        worst_rms: of the worst attacked image.
        worst_max: largest |error| of any attacked image.
        exact_images: attacked images of which every pixel comes back within half a bin of itself.
    """

    backend: str
    images: int
    non_finite: int
    start_rms: float
    mean_rms: float
    worst_rms: float
    worst_max: float
    exact_images: int

    @property
    def ratio(self) -> float:
        """Worst attacked image over the mean random point; NaN where that is exact."""
        return self.worst_rms / self.start_rms if self.start_rms > 0.0 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {**_plain(self), "ratio": _number(self.ratio)}


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackReport:
    """Sign-gradient ascent on the trained model's float32 error, within half a bin of the golden images.

    Attributes:
        attacked: the trained model's own errors.
        steps: of ascent.
        step: length of one, in units of x.
        epsilon: radius of the ball in the maximum norm, half a bin, in units of x.
        random_mean_rms: mean over the images of the worst of as many random points of the same balls: what luck alone
            finds. Infinite where one is lost.
        random_worst_rms: the worst of them all.
        non_finite_by_step: images whose reconstruction is non-finite, at the start and after each step.
        worst_image: row among the attacked images.
        worst_x: that image, float32 [C, H, W]; not in the JSON report.
        worst_x_hat: what comes back; not in the JSON report.
        deployed: the attacked images on every backend under test.
    """

    attacked: AttackedBackend
    steps: int
    step: float
    epsilon: float
    random_mean_rms: float
    random_worst_rms: float
    non_finite_by_step: tuple[int, ...]
    worst_image: int
    worst_x: np.ndarray = field(repr=False)
    worst_x_hat: np.ndarray = field(repr=False)
    deployed: tuple[AttackedBackend, ...]

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            **self.attacked.to_dict(),
            "steps": self.steps,
            "step": self.step,
            "epsilon": self.epsilon,
            "random_mean_rms": _number(self.random_mean_rms),
            "random_worst_rms": _number(self.random_worst_rms),
            "non_finite_by_step": list(self.non_finite_by_step),
            "worst_image": self.worst_image,
            "deployed": [row.to_dict() for row in self.deployed],
        }


@dataclass(frozen=True, kw_only=True)
class DeterminismRow:
    """The same input again and again on one backend.

    Attributes:
        backend: which.
        runs: in one process.
        processes: fresh ones, which opened the engines again; 0 if none was started.
        runs_equal: every bit of every run is the same.
        processes_equal: likewise against this process; None without fresh ones.
        largest_difference: of any output value; infinite where one is finite in one run and not in another.
        output: the output it is of: `z1` ... `zL`, `log_prob` or `x`; empty where all are equal.
    """

    backend: str
    runs: int
    processes: int
    runs_equal: bool
    processes_equal: bool | None
    largest_difference: float
    output: str

    @property
    def equal(self) -> bool:
        """True where nothing that was run differed."""
        return self.runs_equal and self.processes_equal is not False

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return _plain(self)


@dataclass(frozen=True, kw_only=True)
class StressFailure:
    """A valid image that a model with bounded scales loses on one backend.

    Attributes:
        backend: which.
        input: kind of image.
        non_finite: images lost.
        n: images of that kind.
        stage: where it shows first.
        cause: probable cause, in words.
    """

    backend: str
    input: str
    non_finite: int
    n: int
    stage: str
    cause: str

    def __str__(self) -> str:
        return (
            f"{self.backend}, stress input {self.input}: {self.non_finite} of {self.n} images are non-finite in their "
            f"{self.stage} ({self.cause})"
        )

    def to_dict(self) -> dict[str, Any]:
        """For the JSON report."""
        return _plain(self)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(row: Any) -> dict[str, Any]:
    """The fields of a dataclass of plain values, with null for what is no finite number."""
    values = ((item.name, getattr(row, item.name)) for item in fields(row))
    return {name: _number(value) if isinstance(value, float) else value for name, value in values}
