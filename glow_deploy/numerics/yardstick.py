"""The float32 error of the trained model itself: what every backend's error is measured in."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from glow_deploy.artifact.figures import ErrorFigures, Figures
from glow_deploy.errors import BundleError

__all__ = ["Yardstick"]

_LARGEST = sys.float_info.max
_LARGEST_NARROW = 1e6  # no graphs in 16 bit that were exported unforced err so much


@dataclass(frozen=True, kw_only=True)
class Yardstick(ErrorFigures):
    """What float32 PyTorch, or graphs of a narrower precision, make of one set of images, against float64 PyTorch.

    Attributes:
        source: where the figures come from, in words, for the printed derivation.
    """

    source: str

    @classmethod
    def stored(
        cls,
        figures: ErrorFigures,
        *,
        source: str = "PyTorch float32 on the {n} golden images, from the manifest",
        where: str = "yardstick",
    ) -> Yardstick:
        """Take the figures that a manifest holds, as untrusted input.

        Args:
            figures: of the float32 model, or of narrower graphs.
            source: in words, with `{n}` for the number of images.
            where: their place under `numerics`, for messages.

        Raises:
            BundleError: a figure is not finite or far too large; a missing measure is never a pass.
        """
        most = _LARGEST_NARROW if where.startswith("precision.") else _LARGEST
        for name, found in figures.named().items():
            for statistic, value in (("rms", found.rms), ("p999", found.p999), ("max", found.max)):
                if not 0 <= value <= most:
                    raise BundleError(
                        f"manifest.json: numerics.{where}.{name}.{statistic} is {value:g}; it must be a number from 0 "
                        f"to {most:g}; export again"
                    )
        # `non_finite` stays 0: what the model itself loses counts where it was measured, in no other set of images.
        return cls(
            n=figures.n,
            source=source.format(n=figures.n),
            x_hat=figures.x_hat,
            z=figures.z,
            bits_per_dim=figures.bits_per_dim,
            zxz=figures.zxz,
            x_from_z=figures.x_from_z,
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
        """For the JSON report."""
        figures = super().to_dict()
        return {"n": figures.pop("n"), "source": self.source, **figures}
