"""What was proven and measured of exact graphs, as `numerics.exact` of a manifest holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .json_values import count, number_or_null, sequence, table, text

__all__ = ["ExactFigures", "ExactProof"]


@dataclass(frozen=True, kw_only=True)
class ExactProof:
    """Bounds over every image.

    Attributes:
        limit: an image is in range while |q| <= limit at every checked place.
        largest_sum: of any partial sum of products, in units of the products; below 2^24.
        where_sum: path of that convolution.
        largest_value: of any value of the trunk while in range, between two checks; below 2^24.
        where_value: its step.
        largest_operand: of any weight or input of a convolution; up to 2^11 are exact in TF32. A
            shear's high limb is fed as a multiple of 2^9, which float16 cannot hold.
        normal_limit: |z| below it comes back exactly from the standard normal number that it is given as.
    """

    limit: int
    largest_sum: int
    where_sum: str
    largest_value: int
    where_value: str
    largest_operand: int
    normal_limit: int

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> ExactProof:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        names = ("limit", "largest_sum", "largest_value", "largest_operand", "normal_limit")
        numbers = {name: count(found, name, where=where) for name in names}
        return cls(
            **numbers,
            where_sum=text(found, "where_sum", where=where),
            where_value=text(found, "where_value", where=where),
        )


@dataclass(frozen=True, kw_only=True)
class ExactFigures:
    """What was proven and measured of exact graphs.

    Attributes:
        proof: the bounds.
        bits: of the conditioners' weights, and a sign, and of their activations.
        fraction_bits: a pixel step is 2^fraction_bits steps of the grid of x.
        spacings: of each latent: h = z * spacing around its mean.
        images: calibration images.
        largest: |q| on them, at every checked place.
        bits_per_dim_change: of the integer model over the trained one, mean over `change_images`.
        change_band: the mean is known to within it, at 95 % confidence a side.
        change_images: images that the ranges were not chosen by; 0 where there were none, and then those of
            the calibration were taken. With `--bits auto` the width was chosen by them.
        outside: of those, images that leave the range.
    """

    proof: ExactProof
    bits: int
    fraction_bits: int
    spacings: tuple[float, ...]
    images: int
    largest: int
    bits_per_dim_change: float
    change_band: float
    change_images: int
    outside: int

    @classmethod
    def from_dict(cls, values: object, *, levels: int, where: str) -> ExactFigures:
        """Read what `to_dict` gives.

        Raises:
            ValueError: an entry is missing or malformed.
        """
        found = table(values, where)
        spacings = sequence(found.get("spacings"), f"{where}.spacings")
        if len(spacings) != levels:
            raise ValueError(f"{where}.spacings must have one for each level")
        if not all(isinstance(value, float) and 0 < value < float("inf") for value in spacings):
            raise ValueError(f"{where}.spacings must be positive numbers")
        names = ("bits", "fraction_bits", "images", "largest", "change_images", "outside")
        return cls(
            proof=ExactProof.from_dict(found.get("proof"), where=f"{where}.proof"),
            **{name: count(found, name, where=where) for name in names},
            spacings=tuple(spacings),
            bits_per_dim_change=number_or_null(found, "bits_per_dim_change", where=where),
            change_band=number_or_null(found, "change_band", where=where),
        )

    def to_dict(self) -> Mapping[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "spacings": list(self.spacings)}
