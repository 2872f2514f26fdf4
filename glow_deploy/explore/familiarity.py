"""Whether a picture is of the kind that a model was trained on, by the bits/dim of the golden images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.golden import Golden
from glow_deploy.images import bits_per_dim

__all__ = ["Familiar", "GoldenRange", "golden_range"]

Familiar = Literal["typical", "unusual", "foreign", "unknown"]

_FOREIGN = 1.5


@dataclass(frozen=True, kw_only=True)
class GoldenRange:
    """Bits/dim of a bundle's golden images, at bin centres.

    Attributes:
        low: least.
        mean: on average.
        high: most.
        n: images.
        of_data: they are images of data, and not samples of the model, which cost fewer bits than data do.
    """

    low: float
    mean: float
    high: float
    n: int
    of_data: bool

    def familiar(self, bits: float) -> Familiar:
        """Say how a picture of so many bits/dim at the bin centre compares.

        `typical` is no farther from the mean than the farthest golden image. `foreign` is more than 1.5 times as far.
        The distance is the statistic of the typicality test: a picture can also be foreign by costing too few bits.
        Samples of the model say nothing about data: `unknown`.
        """
        if not self.of_data:
            return "unknown"
        farthest = max(self.high - self.mean, self.mean - self.low)
        distance = abs(bits - self.mean)
        if not distance <= _FOREIGN * farthest:  # also what is not a number
            return "foreign"
        return "typical" if distance <= farthest else "unusual"


def golden_range(bundle: Bundle, golden: Golden | None) -> GoldenRange | None:
    """Return the range of a bundle's golden images; None where there are none, or fewer than two."""
    if golden is None or len(golden) < 2:
        return None
    dims = int(np.prod(bundle.manifest.image_shape))
    bits = bits_per_dim(golden.log_prob, dims=dims, n_bits=bundle.manifest.n_bits)
    return GoldenRange(
        low=float(bits.min()),
        mean=float(bits.mean()),
        high=float(bits.max()),
        n=len(bits),
        of_data=bundle.manifest.golden_source in ("data", "checkpoint"),
    )
