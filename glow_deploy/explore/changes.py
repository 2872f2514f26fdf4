"""What the sliders ask for, and the latents that makes: towards another image, scaled, along attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.directions.directions import Directions
from glow_deploy.errors import UsageError
from glow_deploy.latents.ways import InterpolationMode, blend

__all__ = ["HOTTEST", "Change", "changed_latents", "number"]

HOTTEST = 4.0
"""The highest temperature that is taken; the sliders end earlier."""

_LARGEST = 1e9
_FARTHEST = 100.0  # of an attribute; the sliders end where the direction's file says


@dataclass(frozen=True, kw_only=True)
class Change:
    """One setting of all sliders.

    Attributes:
        temperature: the image's latents are multiplied by it, 0 to `HOTTEST`; 1 leaves them.
        temperatures: likewise level by level, finest first, on top of it; empty leaves them.
        share: of the way to the other image, 0 to 1.
        mode: of the way, `linear` or `spherical`.
        attributes: amount by name, in units of the direction.
        label: the class to decode as; None takes the image's own.
    """

    temperature: float = 1.0
    temperatures: tuple[float, ...] = ()
    share: float = 0.0
    mode: InterpolationMode = "linear"
    attributes: Mapping[str, float] = field(default_factory=dict)
    label: int | None = None

    def __post_init__(self) -> None:
        for value in (self.temperature, *self.temperatures):
            if not 0 <= value <= HOTTEST:
                raise UsageError(f"a temperature is {value:g}; numbers from 0 to {HOTTEST:g} are taken")
        if not 0 <= self.share <= 1:
            raise UsageError(f"the share of the way is {self.share:g}; numbers from 0 to 1 are taken")
        if self.mode not in ("linear", "spherical"):
            raise UsageError(f"the way is {self.mode!r:.40}; choose linear or spherical")
        for name, amount in self.attributes.items():
            if not abs(amount) <= _FARTHEST:
                raise UsageError(f"{name[:40]} is {amount:g}; amounts from {-_FARTHEST:g} to {_FARTHEST:g} are taken")

    @classmethod
    def from_json(cls, value: Any) -> Change:
        """Read what a browser sent.

        Raises:
            UsageError: it is not what the page sends.
        """
        if not isinstance(value, dict) or not set(value) <= set(cls.__dataclass_fields__):
            raise UsageError("the change must be an object of " + ", ".join(cls.__dataclass_fields__))
        temperatures, attributes = value.get("temperatures", []), value.get("attributes", {})
        if not isinstance(temperatures, list) or not isinstance(attributes, dict):
            raise UsageError("temperatures must be a list, and attributes an object")
        label, mode = value.get("label"), value.get("mode", "linear")
        if label is not None and type(label) is not int:
            raise UsageError("label must be a whole number")
        return cls(
            temperature=number(value.get("temperature", 1.0), "temperature"),
            temperatures=tuple(number(item, "a temperature") for item in temperatures),
            share=number(value.get("share", 0.0), "share"),
            mode=mode,
            attributes={str(name): number(amount, str(name)[:40]) for name, amount in attributes.items()},
            label=label,
        )

    def level_temperatures(self, levels: int) -> tuple[float, ...]:
        """The factor of each of the `levels`.

        Raises:
            UsageError: temperatures are given for another number of them.
        """
        if self.temperatures and len(self.temperatures) != levels:
            raise UsageError(f"{len(self.temperatures)} temperatures were given, the model has {levels} levels")
        return tuple(self.temperature * value for value in self.temperatures or (1.0,) * levels)


def changed_latents(
    z: Sequence[npt.NDArray[np.floating]],
    change: Change,
    *,
    other: Sequence[npt.NDArray[np.floating]] | None,
    directions: Directions | None,
) -> tuple[npt.NDArray[np.float32], ...]:
    """Latents as the sliders ask for them: first along the way to the other image, then scaled, then the attributes.

    Args:
        z: z1 ... zL of the image, [C, H, W].
        change: of the sliders.
        other: z1 ... zL of the other image; None where there is none.
        directions: of the model.

    Returns:
        z1 ... zL, float32 [C, H, W]; equal to `z` to the last bit where nothing is asked for.

    Raises:
        UsageError: another image or an attribute is asked for that is not there.
        DataError: there is no way between the two, see `glow_deploy.latents.ways.blend`.
    """
    scales = change.level_temperatures(len(z))
    if change.share and other is None:
        raise UsageError("open a second image to go to first")
    if change.share and other is not None:
        z = [level[0] for level in blend(z, other, [change.share], mode=change.mode)]
    found = [level.astype(np.float64) * scale for level, scale in zip(z, scales, strict=True)]
    for name, amount in change.attributes.items():
        if directions is None:
            raise UsageError(f"there is no direction for {name[:40]!r}; start with directions=")
        for level, step in zip(found, directions[name].vectors, strict=True):
            level += amount * step.astype(np.float64)
    return tuple(level.astype(np.float32) for level in found)


def number(value: Any, what: str) -> float:
    """Read a number out of JSON.

    Raises:
        UsageError: it is none, or far beyond anything the page asks for.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise UsageError(f"{what} must be a number")
    return float(value)
