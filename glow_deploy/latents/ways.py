"""Ways between latents: lines, arcs, and squares between four corners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_choice, as_whole
from glow_deploy.errors import DataError, UsageError

from .specs import show_shape

__all__ = ["MOST_STEPS", "InterpolationMode", "Levels", "blend", "interpolate", "interpolate_grid"]

InterpolationMode = Literal["linear", "spherical"]
"""`linear`: straight from one to the other. `spherical`: along a great circle in each level."""


Levels = tuple[npt.NDArray[np.floating], ...]
"""z1 ... zL."""

MOST_STEPS = 1000
_PARALLEL = 1e-6  # radians: below it an arc and its chord agree to 1e-12
_OPPOSITE = 1e-5  # of two unit vectors; float32 latents know their sum no better than to about 1e-7


def blend(
    a: Sequence[npt.NDArray[np.floating]],
    b: Sequence[npt.NDArray[np.floating]],
    t: npt.ArrayLike,
    *,
    mode: InterpolationMode = "linear",
) -> Levels:
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
    as_choice("mode", mode, get_args(InterpolationMode))
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
) -> Levels:
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
    steps = as_whole("steps", steps, least=2, most=MOST_STEPS)
    return blend(a, b, np.linspace(0, 1, steps), mode=mode)


def interpolate_grid(
    a: Sequence[npt.NDArray[np.floating]],
    b: Sequence[npt.NDArray[np.floating]],
    c: Sequence[npt.NDArray[np.floating]],
    d: Sequence[npt.NDArray[np.floating]],
    *,
    steps: int = 5,
    mode: InterpolationMode = "linear",
) -> Levels:
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


def _check_levels(a: Sequence[npt.NDArray[np.floating]], b: Sequence[npt.NDArray[np.floating]]) -> None:
    shapes = [[tuple(np.shape(level)) for level in end] for end in (a, b)]
    if not shapes[0] or shapes[0] != shapes[1]:
        first, second = (", ".join(map(show_shape, end)) or "none" for end in shapes)
        raise DataError(f"latents of the shapes {first} and {second} are not of one model")
    for end in (a, b):
        for level, array in enumerate(end, start=1):
            bad = int((~np.isfinite(array)).sum())
            if bad:
                raise DataError(f"{bad} of {array.size} numbers of z{level} are not finite")
