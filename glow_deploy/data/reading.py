"""What a file of images does not say about its values, told by whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glow_deploy.errors import UsageError

__all__ = ["FLOAT_RANGES", "FloatRange", "Layout", "Reading"]

Layout = Literal["nhwc", "nchw"]
"""How arrays of images are laid out: channels last or first."""

FloatRange = Literal["unit", "centred", "signed", "byte"]
"""What floats run over, from black to white: 0..1, -0.5..0.5, -1..1, or 0..255."""

FLOAT_RANGES: dict[FloatRange, tuple[float, float]] = {
    "unit": (0.0, 1.0),
    "centred": (-0.5, 0.5),
    "signed": (-1.0, 1.0),
    "byte": (0.0, 255.0),
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How values are to be taken.

    Attributes:
        layout: of arrays; None takes [N,H,W,C].
        float_range: of arrays of floats, which are refused without it.
        depth: bits of what is stored in 16, 9 to 16; None takes 16.

    Raises:
        UsageError: a value is out of range.
    """

    layout: Layout | None = None
    float_range: FloatRange | None = None
    depth: int | None = None

    def words(self) -> list[str]:
        """Return these as options of a command line."""
        given = {"layout": self.layout, "float-range": self.float_range, "depth": self.depth}
        return [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]

    def __post_init__(self) -> None:
        if self.layout not in (None, "nhwc", "nchw"):
            raise UsageError(f"layout is {self.layout!r}; choose nhwc or nchw")
        if self.float_range is not None and self.float_range not in FLOAT_RANGES:
            raise UsageError(f"float_range is {self.float_range!r}; choose one of {', '.join(FLOAT_RANGES)}")
        if self.depth is not None and not 9 <= self.depth <= 16:
            raise UsageError(f"depth is {self.depth}; values stored in 16 bits have 9 to 16")
