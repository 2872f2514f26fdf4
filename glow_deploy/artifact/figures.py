"""Errors as a manifest holds them: of one quantity, and of all that a model makes of a set of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .json_values import count, entry, json_number, numbers_or_null, table

__all__ = ["ErrorFigures", "Figures", "Summary"]


class Summary(Protocol):
    """Anything that knows the three figures of an error."""

    @property
    def rms(self) -> float:
        """Root mean square."""

    @property
    def p999(self) -> float:
        """99.9th percentile of the absolute error."""

    @property
    def max(self) -> float:
        """Largest absolute error."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """rms, 99.9th percentile and maximum of an error, each >= 0; NaN where it was not finite."""

    rms: float
    p999: float
    max: float

    @classmethod
    def of(cls, summary: Summary) -> Figures:
        """Take them from a summary."""
        return cls(rms=summary.rms, p999=summary.p999, max=summary.max)

    @property
    def finite(self) -> bool:
        """Whether all three are."""
        return all(math.isfinite(value) for value in (self.rms, self.p999, self.max))

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> Figures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: a figure is missing, negative or no number; `where` is in the message.
        """
        return cls(**numbers_or_null(values, ("rms", "p999", "max"), where=where))

    def to_dict(self) -> dict[str, float | None]:
        """For the manifest and the JSON report; what is not a finite number is null."""
        return {"rms": json_number(self.rms), "p999": json_number(self.p999), "max": json_number(self.max)}


@dataclass(frozen=True, kw_only=True)
class ErrorFigures:
    """What a backend or a precision makes of a set of images, against float64 PyTorch.

    Attributes:
        n: images it was measured on.
        x_hat: decode of its own latents against x, in units of x.
        z: latents against float64, z1 (finest) first.
        bits_per_dim: against float64.
        zxz: encode of the reconstruction against the latents it was made from, z1 first.
        non_finite: values that the model itself loses on the way x -> z -> x.
        x_from_z: decode of the float64 latents against the float64 reconstruction. In float32 it is as good as
            `x_hat`, which stands for it; in a narrower precision encoder and decoder share much of their error, and
            this is larger.
    """

    n: int
    x_hat: Figures
    z: tuple[Figures, ...]
    bits_per_dim: Figures
    zxz: tuple[Figures, ...]
    non_finite: int = 0
    x_from_z: Figures | None = None

    @property
    def decoded(self) -> Figures:
        """Errors of the decoder alone."""
        return self.x_hat if self.x_from_z is None else self.x_from_z

    def named(self) -> Mapping[str, Figures]:
        """Every error by its name in the file: `x_hat`, `z.z1`, ..."""
        return {
            "x_hat": self.x_hat,
            **({} if self.x_from_z is None else {"x_from_z": self.x_from_z}),
            **{f"z.z{level}": figures for level, figures in enumerate(self.z, 1)},
            "bits_per_dim": self.bits_per_dim,
            **{f"zxz.z{level}": figures for level, figures in enumerate(self.zxz, 1)},
        }

    @classmethod
    def from_dict(cls, values: object, *, levels: int, where: str) -> ErrorFigures:
        """Read what `to_dict` gives.

        Args:
            values: parsed JSON.
            levels: L.
            where: its place, for messages.

        Raises:
            ValueError: an error is missing or malformed.
        """
        found = table(values, where)
        given = found.get("x_from_z")
        return cls(
            n=count(found, "n", where=where, least=1),
            x_hat=Figures.from_dict(entry(found, "x_hat", where=where), where=f"{where}.x_hat"),
            z=_levels(found, "z", levels, where),
            bits_per_dim=Figures.from_dict(entry(found, "bits_per_dim", where=where), where=f"{where}.bits_per_dim"),
            zxz=_levels(found, "zxz", levels, where),
            non_finite=count(found, "non_finite", where=where) if "non_finite" in found else 0,
            x_from_z=None if given is None else Figures.from_dict(given, where=f"{where}.x_from_z"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "n": self.n,
            "non_finite": self.non_finite,
            "x_hat": self.x_hat.to_dict(),
            **({} if self.x_from_z is None else {"x_from_z": self.x_from_z.to_dict()}),
            "z": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.z, 1)},
            "bits_per_dim": self.bits_per_dim.to_dict(),
            "zxz": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.zxz, 1)},
        }


def _levels(values: Mapping[str, Any], name: str, levels: int, where: str) -> tuple[Figures, ...]:
    place = f"{where}.{name}"
    found = table(entry(values, name, where=where), place)
    names = [f"z{level}" for level in range(1, levels + 1)]
    return tuple(Figures.from_dict(entry(found, level, where=place), where=f"{place}.{level}") for level in names)
