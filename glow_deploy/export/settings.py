"""What can be chosen at export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

__all__ = ["ExportSettings", "Precision", "Weights"]

Precision = Literal["fp32"]
Weights = Literal["ema", "raw"]


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Options of `export`.

    Attributes:
        precision: of the graphs; `fp32` is float32 throughout.
        data: where golden images come from (a folder, an .npz file, `faces`, ...); None takes those the checkpoint
            carries, or the model's own samples if it carries none.
        golden: how many golden images at most; None for a bundle without golden vectors.
        resize: crop and resample images of `data` that are of another size, instead of refusing them.
        weights: `ema` exports the averaged weights where there are any, `raw` the weights as trained.
        force: replace an existing bundle, and write one even if the model was judged not to be invertible; what was
            found is then in the manifest's `numerics.problems`.

    Raises:
        UsageError: a value is out of range.
    """

    precision: Precision = "fp32"
    data: str | None = None
    golden: int | None = 64
    resize: bool = False
    weights: Weights = "ema"
    force: bool = False

    def __post_init__(self) -> None:
        if self.precision != "fp32":
            raise UsageError(f"precision {self.precision!r} is not available; fp32 is")
        if self.weights not in ("ema", "raw"):
            raise UsageError(f"weights must be ema or raw, not {self.weights!r}")
        if self.golden is not None and self.golden < 1:
            raise UsageError(f"--golden must be a positive number or none, not {self.golden}")
        if self.golden is None and self.data is not None:
            raise UsageError("--data names golden images, so it cannot go with --golden none")
