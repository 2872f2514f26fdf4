"""The float32 error of the trained model itself: what every backend's error is measured in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BundleError
from .measures import ErrorSummary

__all__ = ["Figures", "Yardstick"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """rms, 99.9th percentile and maximum of an error, each >= 0."""

    rms: float
    p999: float
    max: float

    @classmethod
    def of(cls, summary: ErrorSummary) -> Figures:
        """Take them from a summary."""
        return cls(rms=summary.rms, p999=summary.p999, max=summary.max)

    def to_dict(self) -> dict[str, float | None]:
        """For the manifest and the JSON report; what is not a finite number is null."""
        figures = {"rms": self.rms, "p999": self.p999, "max": self.max}
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """PyTorch float32 against PyTorch float64 on one set of images.

    Attributes:
        n: images it was measured on.
        source: where the figures come from, in words, for the printed derivation.
        x_hat: float32 decode of float32 latents against x, in units of x.
        z: float32 latents against float64, z1 (finest) first.
        bits_per_dim: float32 against float64.
        zxz: float32 encode of the float32 reconstruction against the float32 latents, z1 first.
        non_finite: values that the float32 model itself loses on the way x -> z -> x.
    """

    n: int
    source: str
    x_hat: Figures
    z: tuple[Figures, ...]
    bits_per_dim: Figures
    zxz: tuple[Figures, ...]
    non_finite: int = 0

    @classmethod
    def from_manifest(cls, values: Any, *, levels: int) -> Yardstick:
        """Read `manifest.numerics["yardstick"]`.

        Args:
            values: `n`, `x_hat`, `bits_per_dim` with rms, p999 and max each; `z` and `zxz` with those of every level
                under `z1` ... `zL`.
            levels: L.

        Raises:
            BundleError: a figure is missing, negative or not a finite number; a missing measure is never a pass.
        """
        table = _mapping(values, "yardstick")
        n = table.get("n")
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise BundleError(f"manifest.json: numerics.yardstick.n is {n!r}; it must count the images; export again")
        return cls(
            n=n,
            source=f"PyTorch float32 on the {n} golden images, from the manifest",
            x_hat=_figures(table.get("x_hat"), "x_hat"),
            z=_levels(table.get("z"), "z", levels),
            bits_per_dim=_figures(table.get("bits_per_dim"), "bits_per_dim"),
            zxz=_levels(table.get("zxz"), "zxz", levels),
        )

    @classmethod
    def missing(cls, *, levels: int) -> Yardstick:
        """Stand for a model that was exported by force although it is not finite in float32: it excuses no error."""
        nothing = Figures(rms=math.nan, p999=math.nan, max=math.nan)
        return cls(
            n=1,
            source="none: the trained model itself is not finite in float32",
            x_hat=nothing,
            z=(nothing,) * levels,
            bits_per_dim=nothing,
            zxz=(nothing,) * levels,
            non_finite=1,
        )

    def to_dict(self) -> dict[str, Any]:
        """For the manifest and the JSON report."""
        return {
            "n": self.n,
            "source": self.source,
            "non_finite": self.non_finite,
            "x_hat": self.x_hat.to_dict(),
            "z": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.z, 1)},
            "bits_per_dim": self.bits_per_dim.to_dict(),
            "zxz": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.zxz, 1)},
        }


def _mapping(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise BundleError(f"manifest.json: numerics.{where} is missing, so no error can be judged; export again")
    return values


def _figures(values: Any, where: str) -> Figures:
    table = _mapping(values, f"yardstick.{where}")
    found = {}
    for name in ("rms", "p999", "max"):
        value = table.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise BundleError(
                f"manifest.json: numerics.yardstick.{where}.{name} is {value!r}; it must be a finite number >= 0; "
                "export again"
            )
        found[name] = float(value)
    return Figures(**found)


def _levels(values: Any, where: str, levels: int) -> tuple[Figures, ...]:
    table = _mapping(values, f"yardstick.{where}")
    return tuple(_figures(table.get(f"z{level}"), f"{where}.z{level}") for level in range(1, levels + 1))
