"""What another project's checkpoint may leave unsaid. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import ConfigError

__all__ = ["ImportOptions", "InputRange", "ScaleMap"]

InputRange = Literal["unit", "centred"]
ScaleMap = Literal["sigmoid", "sigmoid_plain", "exp", "sigmoid_inv"]

_MAX_SIDE = 65536


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Facts about a model that its file does not hold. Each is asked for by name where a reader needs it.

    What the file does hold is not overruled: a different value here is an error.

    Attributes:
        image_size: (H, W) in pixels.
        n_bits: depth of the pixels the model was trained on, 1 to 8.
        input_range: what the model was fed: `unit`, images in [0,1), or `centred`, the same minus 0.5.
        scale_map: what affine couplings make of their unbounded scale h: `sigmoid` multiplies by sigmoid(h + 2) on the
            way to the latents, `sigmoid_plain`, of some forks, by sigmoid(h). The others cannot be expressed.

    Raises:
        ConfigError: a value is out of range.
    """

    image_size: tuple[int, int] | None = None
    n_bits: int | None = None
    input_range: InputRange | None = None
    scale_map: ScaleMap | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None:
            size = tuple(self.image_size)
            if len(size) != 2 or not all(_is_count(side, _MAX_SIDE) for side in size):
                raise ConfigError(f"image_size is {self.image_size}; it must be two whole numbers (H, W)")
            object.__setattr__(self, "image_size", size)
        if self.n_bits is not None and not _is_count(self.n_bits, 8):
            raise ConfigError(f"n_bits is {self.n_bits}; it must be a whole number, 1 to 8")
        for name, kind in (("input_range", InputRange), ("scale_map", ScaleMap)):
            if getattr(self, name) not in (None, *get_args(kind)):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}")

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, as plain values that JSON and `from_dict` understand."""
        values = {
            "image_size": None if self.image_size is None else list(self.image_size),
            "n_bits": self.n_bits,
            "input_range": self.input_range,
            "scale_map": self.scale_map,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImportOptions:
        """Build options from what `to_dict` gave.

        Raises:
            ConfigError: an unknown key or a value out of range.
        """
        unknown = set(values) - {"image_size", "n_bits", "input_range", "scale_map"}
        if unknown:
            raise ConfigError(f"unknown import options: {', '.join(sorted(map(str, unknown)))[:200]}")
        return cls(**values)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
