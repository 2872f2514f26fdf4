"""Solving an inverse problem for a batch of images: over latents, in stages, or over pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import UnsoundModelError
from glow_deploy.latents.coding import decode_latents
from glow_deploy.progress import CountProgress

from .gradient_model import GradientModel
from .lbfgs import LbfgsSettings, Minimum, minimise
from .objectives import Flattener, latent_objective, pixel_objective, start_finite

__all__ = ["Solution", "Stage", "concatenate_solutions", "solve_latents", "solve_pixels"]

Float64Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | None
Report = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One of several minimisations, each starting where the last one ended.

    Attributes:
        noise: standard deviation of the known values, in units of x.
        share: of the iterations.
    """

    noise: float
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """What was found for N images.

    Attributes:
        x: float64 [N, C, H, W], finite, not clamped.
        steps: int64 [N], iterations of all stages.
        converged: bool [N], in the last stage.
        evaluations: int64 [N], passes through the model with their gradients.
        nonfinite: int64 [N], how many of those were not finite.
    """

    x: Float64Array
    steps: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    evaluations: npt.NDArray[np.int64]
    nonfinite: npt.NDArray[np.int64]


def solve_latents(
    model: GradientModel,
    *,
    target: npt.NDArray[np.floating],
    known: npt.NDArray[np.bool_],
    centre: Float64Array,
    start: Float64Array,
    stages: Sequence[Stage],
    search: LbfgsSettings,
    prior: float = 1.0,
    y: Labels = None,
    report: Report | None = None,
) -> Solution:
    """Minimise `latent_objective` and decode what was found.

    Args:
        model: that is inverted.
        target: [N, C, H, W], the known values.
        known: bool, of the same shape.
        centre: [N, D], latents that the prior is about.
        start: [N, D], latents to begin at; halved until they decode to finite values.
        stages: at least one.
        search: `steps` are those of all stages together.
        prior: weight of the prior.
        y: labels [N] of a class-conditional model.
        report: called with the iterations done.

    Raises:
        UnsoundModelError: nothing near the start decodes to finite values.
    """
    point, lost, before = start, np.zeros(len(start), np.int64), 0
    found: list[Minimum] = []
    for stage in stages:
        objective = latent_objective(
            model, target=target, known=known, centre=centre, noise=stage.noise, prior=prior, y=y
        )
        if not found:
            point, lost = start_finite(objective, point)
        steps = max(1, round(stage.share * search.steps))
        found.append(minimise(objective, point, settings=replace(search, steps=steps), progress=_after(before, report)))
        point, before = found[-1].point, before + steps
    decoded = decode_latents(model.decoder, Flattener.of(model).split(point), labels=y, batch=len(point))
    return _solution(decoded.x.astype(np.float64), found, lost)


def solve_pixels(
    model: GradientModel,
    *,
    target: npt.NDArray[np.floating],
    start: npt.NDArray[np.floating],
    free: npt.NDArray[np.bool_],
    noise: float | None,
    search: LbfgsSettings,
    prior: float = 1.0,
    y: Labels = None,
    report: Report | None = None,
) -> Solution:
    """Minimise `pixel_objective`.

    Args:
        model: whose likelihood it is.
        target: [N, C, H, W], the image given.
        start: of the same shape.
        free: bool, of the same shape: what may change.
        noise: standard deviation of the free values of `target`, or None.
        search: how to minimise.
        prior: weight of the likelihood.
        y: labels [N] of a class-conditional model.
        report: called with the iterations done.

    Raises:
        UnsoundModelError: the likelihood of the start is not finite.
    """
    objective = pixel_objective(model, target=target, free=free, noise=noise, prior=prior, y=y)
    point = np.asarray(start, dtype=np.float64).reshape(len(start), -1)
    value, gradient = objective(point, np.arange(len(point)))
    bad = int((~(np.isfinite(value) & np.isfinite(gradient).all(axis=1))).sum())
    if bad:
        raise UnsoundModelError(
            f"the likelihood of {bad} of {len(point)} images is not finite, so there is no way up from there; optimise "
            "over latents"
        )
    found = minimise(objective, point, settings=search, progress=_after(0, report))
    return _solution(found.point.reshape(target.shape), [found], np.zeros(len(point), np.int64))


def concatenate_solutions(parts: Sequence[Solution]) -> Solution:
    """Join the solutions of several batches."""
    return Solution(
        x=np.concatenate([part.x for part in parts]),
        steps=np.concatenate([part.steps for part in parts]),
        converged=np.concatenate([part.converged for part in parts]),
        evaluations=np.concatenate([part.evaluations for part in parts]),
        nonfinite=np.concatenate([part.nonfinite for part in parts]),
    )


def _solution(x: Float64Array, found: Sequence[Minimum], lost: npt.NDArray[np.int64]) -> Solution:
    return Solution(
        x=x,
        steps=np.sum([stage.steps for stage in found], axis=0),
        converged=found[-1].converged,
        evaluations=np.sum([stage.evaluations for stage in found], axis=0) + lost,
        nonfinite=np.sum([stage.nonfinite for stage in found], axis=0) + lost,
    )


def _after(before: int, report: Report | None) -> CountProgress | None:
    if report is None:
        return None
    return lambda done, total: report(before + done)
