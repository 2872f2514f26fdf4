"""The float32 error of the trained model itself: what every backend's error is measured in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glow_deploy.errors import BundleError

from .measures import ErrorSummary

__all__ = ["Figures", "Yardstick"]

_MOST_IMAGES = 10**9
_LARGEST = float(np.finfo(np.float64).max)
_LARGEST_NARROW = 1e6  # no graphs in 16 bit that were exported unforced err so much


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
    """What float32 PyTorch, or graphs of a narrower precision, make of one set of images, against float64 PyTorch.

    Attributes:
        n: images it was measured on.
        source: where the figures come from, in words, for the printed derivation.
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
    source: str
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

    @classmethod
    def from_manifest(
        cls,
        values: Any,
        *,
        levels: int,
        source: str = "PyTorch float32 on the {n} golden images, from the manifest",
        where: str = "yardstick",
    ) -> Yardstick:
        """Read `manifest.numerics["yardstick"]`, or the errors of narrower graphs beside it.

        Args:
            values: `n`, `x_hat`, `bits_per_dim` and, where there is one, `x_from_z` with rms, p999 and max each; `z`
                and `zxz` with those of every level under `z1` ... `zL`.
            levels: L.
            source: in words, with `{n}` for the number of images.
            where: its place under `numerics`, for messages.

        Raises:
            BundleError: a figure is missing, negative or not a finite number; a missing measure is never a pass.
        """
        table = _mapping(values, where)
        n = table.get("n")
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MOST_IMAGES:
            shown = str(n)[:40]
            raise BundleError(f"manifest.json: numerics.{where}.n is {shown}; it must count the images; export again")
        return cls(
            n=n,
            source=source.format(n=n),
            x_hat=_figures(table.get("x_hat"), f"{where}.x_hat"),
            z=_levels(table.get("z"), f"{where}.z", levels),
            bits_per_dim=_figures(table.get("bits_per_dim"), f"{where}.bits_per_dim"),
            zxz=_levels(table.get("zxz"), f"{where}.zxz", levels),
            x_from_z=_figures(table["x_from_z"], f"{where}.x_from_z") if "x_from_z" in table else None,
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
            **({} if self.x_from_z is None else {"x_from_z": self.x_from_z.to_dict()}),
            "z": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.z, 1)},
            "bits_per_dim": self.bits_per_dim.to_dict(),
            "zxz": {f"z{level}": figures.to_dict() for level, figures in enumerate(self.zxz, 1)},
        }


def _mapping(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise BundleError(f"manifest.json: numerics.{where} is missing, so no error can be judged; export again")
    return values


def _figures(values: Any, where: str) -> Figures:
    table = _mapping(values, where)
    most = _LARGEST_NARROW if where.startswith("precision.") else _LARGEST
    found = {}
    for name in ("rms", "p999", "max"):
        value = table.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
            raise BundleError(
                f"manifest.json: numerics.{where}.{name} is {str(value)[:40]}; it must be a number from 0 to {most:g}; "
                "export again"
            )
        found[name] = float(value)
    return Figures(**found)


def _levels(values: Any, where: str, levels: int) -> tuple[Figures, ...]:
    table = _mapping(values, where)
    return tuple(_figures(table.get(f"z{level}"), f"{where}.z{level}") for level in range(1, levels + 1))
