"""Images on the way between images, through the latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_choice, as_flag, as_whole, settle
from glow_deploy.errors import DataError, UnsoundModelError
from glow_deploy.images import values_to_pixels, x_to_pixels, x_to_values
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

from .coding import EncodeSettings, decode_latents, encode_images
from .specs import need_role
from .ways import MOST_STEPS, InterpolationMode, Levels, interpolate, interpolate_grid

__all__ = ["Interpolation", "InterpolationSettings", "interpolate_images", "way_between"]


_CROSS = 128  # grey level that marks what did not decode


@dataclass(frozen=True, kw_only=True)
class InterpolationSettings:
    """How to go from image to image.

    Attributes:
        steps: images on the way, both ends included, 2 to 1000; on each side of a grid of four corners.
        mode: see `blend`.
        batch: images decoded at once.
        best_class: for class-conditional models: take each end as the class that makes it likeliest, instead of labels.
    """

    steps: int = 9
    mode: InterpolationMode = "linear"
    batch: int = 64
    best_class: bool = False

    def __post_init__(self) -> None:
        settle(self, as_whole, "steps", least=2, most=MOST_STEPS)
        settle(self, as_choice, "mode", choices=get_args(InterpolationMode))
        settle(self, as_whole, "batch", least=1)
        settle(self, as_flag, "best_class")


@dataclass(frozen=True, kw_only=True, eq=False)
class Interpolation:
    """The images on the way.

    Attributes:
        z: z1 ... zL, each [n, C, H, W]. Row by row for a grid.
        x: decoded, [n, C, H, W], not clamped.
        finite: bool [n], which of them may be shown.
        labels: the class each was decoded as, int64 [n]; None for a model without classes.
        columns: images in a row: n for two ends, the side of the grid for four.
        ends_exact: bool [2] or [4]: whether the decode of each end has the very pixels of the image given.
        excess: float64 [n], pixel steps by which the worst value of each image lies outside [0, 1]; NaN where it is not
            finite.
        clipped: float64 [n], share of each image's values that lie outside by more than half a pixel step.
        n_bits: of the model.
    """

    z: Levels
    x: npt.NDArray[np.floating]
    finite: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64] | None
    columns: int
    ends_exact: npt.NDArray[np.bool_]
    excess: npt.NDArray[np.float64]
    clipped: npt.NDArray[np.float64]
    n_bits: int

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Interpolation({len(self)} images {self.x.shape[1:]}, {int(self.ends_exact.sum())} ends exact)"

    def pictures(self) -> npt.NDArray[np.uint8]:
        """8-bit values, uint8 [n, C, H, W]; those that did not decode to finite values are a grey cross on white."""
        values = np.full(self.x.shape, 255, np.uint8)
        height, width = self.x.shape[2:]
        rows = np.arange(max(height, width))
        down, across = rows * height // len(rows), rows * width // len(rows)
        values[:, :, down, across] = _CROSS
        values[:, :, down, width - 1 - across] = _CROSS
        if self.finite.any():
            values[self.finite] = x_to_values(self.x[self.finite], self.n_bits)
        return values


def interpolate_images(
    encoder: Engine,
    decoder: Engine,
    values: npt.NDArray[np.uint8],
    *,
    settings: InterpolationSettings | None = None,
    labels: npt.ArrayLike | None = None,
    progress: CountProgress | None = None,
) -> Interpolation:
    """Encode two or four images, go from one to the other, and decode what lies between.

    A class-conditional model decodes each image as the class of the nearest end (the first of them half way). With one
    class for all, the way is continuous; with different ones, each end has the latents of its own class, and the image
    changes its class in the middle of the way. The ends are exact in both cases.

    Args:
        encoder: of the model.
        decoder: of the same model; see `glow_deploy.engines.pair.open_pair`.
        values: uint8 [2, C, H, W] or [4, C, H, W], 8-bit picture values; four are the corners as in `interpolate_grid`.
        settings: how to go; None for the defaults.
        labels: the class of each, [2] or [4], for class-conditional models.
        progress: called with (done, total) after each batch of decodes.

    Raises:
        UsageError: engines the wrong way round, or labels are missing or not wanted.
        DataError: the pictures do not fit the model, are neither two nor four, or see `blend`.
        UnsoundModelError: an end cannot be encoded, or does not decode to finite values.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> encoder, decoder = example_pair()
        >>> black_and_white = np.stack([np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 255, np.uint8)])
        >>> found = interpolate_images(encoder, decoder, black_and_white, settings=InterpolationSettings(steps=3))
        >>> found.pictures()[:, 0, 0, 0].tolist(), found.ends_exact.tolist()
        ([0, 132, 255], [True, True])
    """
    settings = settings or InterpolationSettings()
    need_role(encoder, "encoder", "encoding")
    need_role(decoder, "decoder", "decoding")
    if len(values) not in (2, 4):
        raise DataError(f"{len(values)} pictures were given; interpolation goes between two, or four corners")
    coding = EncodeSettings(draws=0, batch=settings.batch, best_class=settings.best_class)
    found = encode_images(encoder, values, settings=coding, labels=labels)
    ends = [tuple(level[row] for level in found.z) for row in range(len(values))]
    steps = settings.steps
    z, classes = way_between(ends, found.labels, steps=steps, mode=settings.mode)
    corners = [0, steps - 1] if len(ends) == 2 else [0, steps - 1, steps * (steps - 1), steps * steps - 1]
    decoded = decode_latents(decoder, z, labels=classes, batch=settings.batch, progress=progress)
    lost = [end + 1 for end, row in enumerate(corners) if not decoded.finite[row]]
    if lost:
        raise UnsoundModelError(
            f"picture {lost[0]} of {len(values)} does not decode to finite values from its own latents; run "
            "`glow-deploy verify` on this model"
        )
    pixels = x_to_pixels(decoded.x[corners], encoder.n_bits)
    excess, clipped = _outside(decoded.x, encoder.n_bits)
    return Interpolation(
        z=z,
        x=decoded.x,
        finite=decoded.finite,
        labels=classes,
        columns=steps,
        ends_exact=np.asarray(
            (pixels == values_to_pixels(values, encoder.n_bits)).reshape(len(corners), -1).all(axis=1)
        ),
        excess=excess,
        clipped=clipped,
        n_bits=encoder.n_bits,
    )


def way_between(
    ends: Sequence[Levels],
    labels: npt.NDArray[np.int64] | None,
    *,
    steps: int = 9,
    mode: InterpolationMode = "linear",
) -> tuple[Levels, npt.NDArray[np.int64] | None]:
    """Latents on the way between two ends or four corners, and the class that each is decoded as.

    Args:
        ends: z1 ... zL of each end, each level [C, H, W]; four are the corners as in `interpolate_grid`.
        labels: the class of each end, None for a model without classes.
        steps: see `InterpolationSettings`.
        mode: see `blend`.

    Returns:
        For each level [n, C, H, W], and int64 [n]: the class of the nearest end (the first of them half way), or None.

    Raises:
        DataError: the latents do not fit together, see `blend`.
        UsageError: an option is out of range.

    Examples:
        >>> z, labels = way_between([(np.zeros(1),), (np.ones(1),)], np.array([3, 4]), steps=3)
        >>> z[0][:, 0].tolist(), labels.tolist()
        ([0.0, 0.5, 1.0], [3, 3, 4])
    """
    if len(ends) == 2:
        z = interpolate(ends[0], ends[1], steps=steps, mode=mode)
    else:
        z = interpolate_grid(ends[0], ends[1], ends[2], ends[3], steps=steps, mode=mode)
    near = (np.arange(steps) > (steps - 1) / 2).astype(np.int64)
    nearest = near if len(ends) == 2 else (2 * near[:, None] + near).reshape(-1)
    return z, None if labels is None else labels[nearest]


def _outside(x: npt.NDArray[np.floating], n_bits: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    flat = x.reshape(len(x), -1).astype(np.float64)
    beyond = np.maximum(np.maximum(-flat, flat - 1), 0) * 2**n_bits  # NaN stays NaN
    excess = beyond.max(axis=1)
    return np.where(np.isfinite(excess), excess, np.nan), (beyond > 0.5).mean(axis=1)
