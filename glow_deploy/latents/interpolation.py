"""Ways between images through the latents: lines, arcs, and grids of four corners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import values_to_pixels, x_to_pixels, x_to_values
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine

from .coding import EncodeSettings, decode_latents, encode_images
from .specs import need_role

__all__ = [
    "Interpolation",
    "InterpolationMode",
    "InterpolationSettings",
    "blend",
    "interpolate",
    "interpolate_grid",
    "interpolate_images",
]

InterpolationMode = Literal["linear", "spherical"]
"""`linear`: straight from one to the other. `spherical`: along a great circle in each level."""

Latents = tuple[npt.NDArray[np.floating], ...]

_PARALLEL = 1e-6  # radians: below it an arc and its chord agree to 1e-12
_OPPOSITE = 1e-5  # of two unit vectors; float32 latents know their sum no better than to about 1e-7
_MOST_STEPS = 1000
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
        _check_steps(self.steps)
        _check_mode(self.mode)
        if self.batch < 1:
            raise UsageError(f"batch must be at least 1, not {self.batch}")


@dataclass(frozen=True, kw_only=True)
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

    z: Latents
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


def blend(
    a: Sequence[npt.NDArray[np.floating]],
    b: Sequence[npt.NDArray[np.floating]],
    t: npt.ArrayLike,
    *,
    mode: InterpolationMode = "linear",
) -> Latents:
    """Latents at the shares `t` of the way from one image's latents to another's.

    `linear`, as in Kingma & Dhariwal 2018 (section 6), leads through the inside of the sphere on which the latents of
    the model's images lie: a normal vector of D numbers has the norm sqrt(D) up to one part in sqrt(2 D), two of them
    are at right angles, and half way between the squared norm is half of what it should be. That is a sample at
    temperature 0.7: smooth, and simpler than either end.

    `spherical` turns the direction along the great circle (Shoemake 1985) and takes the length from |a| to |b| evenly,
    in each level for itself. Each level is a standard normal of its own under the model, so that an image is typical
    only where every level has its own norm; one great circle through the whole vector keeps the sum of their squares
    and lets levels trade (measured on pairs of faces and of clothes: a standard deviation of 2 to 3 % half way). Length
    and direction are kept apart since Shoemake's formula, meant for unit vectors, bulges where the lengths differ. A
    level of zeros has no direction: the way to or from it is a straight line.

    Args:
        a: z1 ... zL of one image, each of any shape, such as [C, H, W].
        b: those of the other, of the same shapes.
        t: [n], each 0 to 1. At 0 and 1 the result is `a` and `b` to the last bit.
        mode: `linear` or `spherical`.

    Returns:
        For each level [n, *shape], of the wider dtype of the two. Computed in float64.

    Raises:
        DataError: shapes differ, a latent is not finite, or (spherical) a level of `b` points exactly away from that of
            `a`, so that no great circle is the shortest.
        UsageError: no such mode, or a share outside 0 to 1.

    Examples:
        >>> import numpy as np
        >>> a, b = (np.array([3.0, 0.0]),), (np.array([0.0, 3.0]),)
        >>> blend(a, b, [0.0, 0.5, 1.0])[0]
        array([[3. , 0. ],
               [1.5, 1.5],
               [0. , 3. ]])
        >>> half_way = blend(a, b, [0.5], mode="spherical")[0]
        >>> bool(np.isclose(np.linalg.norm(half_way), 3.0))
        True
    """
    _check_mode(mode)
    shares = np.asarray(t, dtype=np.float64)
    if shares.ndim != 1 or not np.all((shares >= 0) & (shares <= 1)):
        raise UsageError(f"shares of the way must be a list of numbers from 0 to 1, not {t!r:.60}")
    _check_levels(a, b)
    found = []
    for level, (first, second) in enumerate(zip(a, b, strict=True), start=1):
        start, end = (np.asarray(end, dtype=np.float64).reshape(-1) for end in (first, second))
        way = _arc(start, end, shares, level) if mode == "spherical" else _line(start, end, shares)
        way[shares == 0], way[shares == 1] = start, end
        found.append(way.reshape(len(shares), *first.shape).astype(np.result_type(first, second)))
    return tuple(found)


def interpolate(
    a: Sequence[npt.NDArray[np.floating]],
    b: Sequence[npt.NDArray[np.floating]],
    *,
    steps: int = 9,
    mode: InterpolationMode = "linear",
) -> Latents:
    """Latents in even steps from one image's to another's, both included: see `blend`.

    Args:
        a: z1 ... zL of one image, each of any shape, such as [C, H, W].
        b: those of the other.
        steps: 2 to 1000.
        mode: `linear` or `spherical`.

    Returns:
        For each level [steps, *shape].

    Raises:
        DataError: the latents do not fit together, see `blend`.
        UsageError: an option is out of range.

    Examples:
        >>> import numpy as np
        >>> z1, z2 = interpolate((np.zeros(2), np.zeros(1)), (np.ones(2), np.full(1, 4.0)), steps=5)
        >>> z1.shape, z2[:, 0].tolist()
        ((5, 2), [0.0, 1.0, 2.0, 3.0, 4.0])
    """
    _check_steps(steps)
    return blend(a, b, np.linspace(0, 1, steps), mode=mode)


def interpolate_grid(
    a: Sequence[npt.NDArray[np.floating]],
    b: Sequence[npt.NDArray[np.floating]],
    c: Sequence[npt.NDArray[np.floating]],
    d: Sequence[npt.NDArray[np.floating]],
    *,
    steps: int = 5,
    mode: InterpolationMode = "linear",
) -> Latents:
    """Latents of a square between four images: bilinear, or of great circles.

    The left edge goes from `a` down to `c`, the right edge from `b` down to `d`, and every row from the left edge to
    the right one. On great circles the inside would be a little different with columns in place of rows.

    Args:
        a: z1 ... zL of the image at the top left.
        b: top right.
        c: bottom left.
        d: bottom right.
        steps: images on each side, 2 to 1000.
        mode: see `blend`.

    Returns:
        For each level [steps * steps, *shape], row by row; the four corners are the latents given, to the last bit.

    Raises:
        DataError: the latents do not fit together, see `blend`.
        UsageError: an option is out of range.

    Examples:
        >>> import numpy as np
        >>> corners = [(np.array([float(value)]),) for value in (0, 2, 4, 6)]
        >>> interpolate_grid(*corners, steps=3)[0].reshape(3, 3)
        array([[0., 1., 2.],
               [2., 3., 4.],
               [4., 5., 6.]])
    """
    left, right = interpolate(a, c, steps=steps, mode=mode), interpolate(b, d, steps=steps, mode=mode)
    rows = [
        interpolate([level[row] for level in left], [level[row] for level in right], steps=steps, mode=mode)
        for row in range(steps)
    ]
    return tuple(np.concatenate(level) for level in zip(*rows, strict=True))


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
    near = (np.arange(steps) > (steps - 1) / 2).astype(np.int64)
    if len(ends) == 2:
        z = interpolate(ends[0], ends[1], steps=steps, mode=settings.mode)
        nearest, corners = near, [0, steps - 1]
    else:
        z = interpolate_grid(ends[0], ends[1], ends[2], ends[3], steps=steps, mode=settings.mode)
        nearest = (2 * near[:, None] + near).reshape(-1)
        corners = [0, steps - 1, steps * (steps - 1), steps * steps - 1]
    classes = None if found.labels is None else found.labels[nearest]
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


def _line(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], t: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.asarray((1 - t)[:, None] * a + t[:, None] * b)


def _arc(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], t: npt.NDArray[np.float64], level: int
) -> npt.NDArray[np.float64]:
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if 0.0 in lengths:
        return _line(a, b, t)
    u, v = a / lengths[0], b / lengths[1]
    apart, together = float(np.linalg.norm(u - v)), float(np.linalg.norm(u + v))
    if together < _OPPOSITE:
        raise DataError(
            f"z{level} of the one points exactly away from z{level} of the other, so that there is no shortest great "
            "circle between them; interpolate linearly"
        )
    # Half the angle between unit vectors, exact where an arc cosine has lost its digits (W. Kahan).
    angle = 2 * math.atan2(apart, together)
    if angle < _PARALLEL:
        direction = _line(u, v, t)
    else:
        first, second = np.sin((1 - t) * angle), np.sin(t * angle)
        direction = (first[:, None] * u + second[:, None] * v) / math.sin(angle)
    return np.asarray(((1 - t) * lengths[0] + t * lengths[1])[:, None] * direction)


def _outside(x: npt.NDArray[np.floating], n_bits: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    flat = x.reshape(len(x), -1).astype(np.float64)
    beyond = np.maximum(np.maximum(-flat, flat - 1), 0) * 2**n_bits  # NaN stays NaN
    excess = beyond.max(axis=1)
    return np.where(np.isfinite(excess), excess, np.nan), (beyond > 0.5).mean(axis=1)


def _check_levels(a: Sequence[npt.NDArray[np.floating]], b: Sequence[npt.NDArray[np.floating]]) -> None:
    shapes = [[tuple(np.shape(level)) for level in end] for end in (a, b)]
    if not shapes[0] or shapes[0] != shapes[1]:
        raise DataError(f"latents of shapes {shapes[0]} and {shapes[1]} are not of one model")
    for end in (a, b):
        for level, array in enumerate(end, start=1):
            bad = int((~np.isfinite(array)).sum())
            if bad:
                raise DataError(f"{bad} of {array.size} numbers of z{level} are not finite")


def _check_steps(steps: int) -> None:
    if not 2 <= steps <= _MOST_STEPS:
        raise UsageError(f"steps must be 2 to {_MOST_STEPS}, both ends included, not {steps}")


def _check_mode(mode: str) -> None:
    if mode not in ("linear", "spherical"):
        raise UsageError(f"mode is {mode!r:.40}; choose linear or spherical")
