"""What is minimised, for each image by itself: over its latents, or over its pixels.

Both weigh a prior against what is known of an image, y = x + noise in the pixels that are known:

- *latents*: `prior |z - c|^2 / 2 + |decode(z) - y|^2 / (2 noise^2)`. With the centre c = 0 the minimum is the most
  likely latent given y (Asim et al. 2020, section 3). With c drawn from the prior, and were the flow linear and y drawn
  likewise, it would be a draw from the posterior of the latents ("randomized maximum likelihood", Oliver et al. 1996;
  "randomize-then-optimize", Bardsley et al. 2014); a Glow is not linear, so it is something like one.
- *pixels*: `-prior log p(x) + |x - y|^2 / (2 noise^2)`, with the exact likelihood, log-determinant included. The
  minimum is the most likely image, which is another one: a density's peak moves with its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import UnsoundModelError
from glow_deploy.latents.specs import finite_rows, latent_specs

from .gradient_model import GradientModel
from .lbfgs import Objective

__all__ = ["Flattener", "latent_objective", "pixel_objective", "start_finite"]

Float64Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | None
Rows = npt.NDArray[np.int64]

_SHRINKS = 30


class Flattener:
    """All latents of an image as one vector, and back.

    Args:
        shapes: (C, H, W) of z1 ... zL.

    Examples:
        >>> both = Flattener([(1, 1, 2), (2, 1, 1)])
        >>> flat = both.join([np.zeros((3, 1, 1, 2)), np.ones((3, 2, 1, 1))])
        >>> flat[0].tolist(), [level.shape for level in both.split(flat)]
        ([0.0, 0.0, 1.0, 1.0], [(3, 1, 1, 2), (3, 2, 1, 1)])
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._shapes = tuple(shapes)
        self._ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)])

    @classmethod
    def of(cls, model: GradientModel) -> Flattener:
        """That of a model's latents."""
        return cls([spec.shape for spec in latent_specs(model.decoder.inputs)])

    def join(self, z: Sequence[npt.NDArray[np.floating]]) -> Float64Array:
        """z1 ... zL, [n, C, H, W] each, to float64 [n, D]."""
        return np.concatenate([level.reshape(len(level), -1).astype(np.float64) for level in z], axis=1)

    def split(self, flat: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.floating], ...]:
        """[n, D] to z1 ... zL."""
        return tuple(
            flat[:, start:end].reshape(len(flat), *shape)
            for start, end, shape in zip(self._ends[:-1], self._ends[1:], self._shapes, strict=True)
        )


def latent_objective(
    model: GradientModel,
    *,
    target: npt.NDArray[np.floating],
    known: npt.NDArray[np.bool_],
    centre: npt.NDArray[np.floating],
    noise: float,
    prior: float = 1.0,
    y: Labels = None,
) -> Objective:
    """State the problem over latents; see the module.

    An image with a non-finite pixel counts as non-finite, also where that pixel is not known.

    Args:
        model: that is inverted.
        target: [N, C, H, W], the known values; others may be anything.
        known: bool, of the same shape.
        centre: [N, D], c.
        noise: standard deviation of the known values, in units of x.
        prior: weight of the prior.
        y: labels [N] of a class-conditional model.

    Examples:
        >>> from glow_deploy.inverse.gradient_model import ExampleGradient
        >>> target, known = np.full((1, 1, 2, 2), 0.75), np.ones((1, 1, 2, 2), bool)
        >>> evaluate = latent_objective(ExampleGradient(size=(2, 2)), target=target, known=known,
        ...                             centre=np.zeros((1, 4)), noise=0.25)
        >>> value, gradient = evaluate(np.zeros((1, 4)), np.array([0]))  # of four numbers: (z - 1)^2 / 2 + z^2 / 2
        >>> value.tolist(), gradient.tolist()
        ([2.0], [[-1.0, -1.0, -1.0, -1.0]])
    """
    flattener = Flattener.of(model)

    def evaluate(point: Float64Array, rows: Rows) -> tuple[Float64Array, Float64Array]:
        wanted, where = target[rows], known[rows]

        def residual(x: npt.NDArray[np.floating]) -> Float64Array:
            return np.where(where, (x.astype(np.float64) - wanted) / noise, 0.0)

        with np.errstate(all="ignore"):
            x, slopes = model.decode_gradient(
                flattener.split(point), None if y is None else y[rows], lambda x: residual(x) / noise
            )
            away = point - centre[rows]
            value = (residual(x) ** 2).reshape(len(x), -1).sum(axis=1) / 2 + prior * (away**2).sum(axis=1) / 2
        return np.where(finite_rows(x), value, np.nan), flattener.join(slopes) + prior * away

    return evaluate


def pixel_objective(
    model: GradientModel,
    *,
    target: npt.NDArray[np.floating],
    free: npt.NDArray[np.bool_],
    noise: float | None,
    prior: float = 1.0,
    y: Labels = None,
) -> Objective:
    """State the problem over pixels; see the module.

    Args:
        model: whose likelihood it is.
        target: [N, C, H, W], the image given.
        free: bool, of the same shape: what may change. The gradient by the rest is zero, so that it stays as it is.
        noise: standard deviation of `target`, in units of x; None: nothing is known of the pixels that are free.
        prior: weight of the likelihood.
        y: labels [N] of a class-conditional model.

    Returns:
        A function of images as points [n, D].

    Examples:
        >>> from glow_deploy.inverse.gradient_model import ExampleGradient
        >>> target, free = np.full((1, 1, 2, 2), 0.75), np.array([[[[True, False], [False, False]]]])
        >>> evaluate = pixel_objective(ExampleGradient(size=(2, 2)), target=target, free=free, noise=None)
        >>> value, gradient = evaluate(np.full((1, 4), 0.75), np.array([0]))  # by the free pixel: 16 (x - 0.5)
        >>> gradient.tolist()
        [[4.0, 0.0, 0.0, 0.0]]
    """

    def evaluate(point: Float64Array, rows: Rows) -> tuple[Float64Array, Float64Array]:
        x = point.reshape(target[rows].shape)
        with np.errstate(all="ignore"):
            log_prob, slope = model.log_prob_gradient(x, None if y is None else y[rows])
            value, gradient = -prior * log_prob.astype(np.float64), -prior * slope.astype(np.float64)
            if noise is not None:
                away = (x - target[rows]) / noise
                value, gradient = value + (away**2).reshape(len(x), -1).sum(axis=1) / 2, gradient + away / noise
        return value, np.where(free[rows], gradient, 0.0).reshape(point.shape)

    return evaluate


def start_finite(objective: Objective, start: npt.NDArray[np.floating]) -> tuple[Float64Array, npt.NDArray[np.int64]]:
    """Halve starting points, row by row, until value and gradient there are finite.

    A Glow with an unbounded scale can decode a draw of its own prior to non-finite values; zero latents are the mode of
    the prior.

    Args:
        objective: see `lbfgs.Objective`.
        start: [N, D].

    Returns:
        Starting points float64 [N, D], and how many non-finite evaluations it took [N].

    Raises:
        UnsoundModelError: a row is not finite even next to zero.

    Examples:
        >>> def small_only(point, rows):
        ...     return np.where(np.abs(point) < 1, point, np.nan).sum(axis=1), np.ones_like(point)
        >>> start_finite(small_only, np.array([[0.5], [2.0]]))
        (array([[0.5],
               [0.5]]), array([0, 2]))
    """
    point = np.array(start, dtype=np.float64)
    lost = np.zeros(len(point), np.int64)
    pending = np.arange(len(point))
    for _ in range(_SHRINKS):
        value, gradient = objective(point[pending], pending)
        pending = pending[~(np.isfinite(value) & np.isfinite(gradient).all(axis=1))]
        if not pending.size:
            return point, lost
        lost[pending] += 1
        point[pending] /= 2
    raise UnsoundModelError(
        f"{pending.size} of {len(point)} starting points do not decode to finite values, not even with latents near "
        "zero; run `glow-deploy verify` on this model"
    )
