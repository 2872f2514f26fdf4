"""Bringing a noisy, damaged or foreign image to the nearest one that the model finds likely."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_choice, as_real, as_seed, as_whole, settle
from glow_deploy.errors import DataError
from glow_deploy.images import values_to_pixels, values_to_x, x_to_values
from glow_deploy.latents.coding import EncodeSettings
from glow_deploy.latents.specs import check_labels, latent_specs
from glow_deploy.progress import CountProgress

from .gradient_model import GradientModel
from .lbfgs import LbfgsSettings
from .likelihood import image_bits_per_dim
from .objectives import Flattener
from .solving import Solution, Stage, concatenate_solutions, solve_latents, solve_pixels

__all__ = ["ProjectSettings", "Projection", "project"]


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """How to project.

    Attributes:
        noise: standard deviation of what is wrong with each value, as a share of the range from black to white. The
            larger, the farther the result may lie from the image.
        prior: weight of the prior; 1 is the model's own.
        over: what is optimised: `latents`, through the decoder, for the likeliest latent; or `pixels`, through the
            encoder, for the likeliest image, by the exact likelihood.
        steps: iterations at most for each image.
        tolerance: see `LbfgsSettings`.
        batch: images worked on at once.
        draws: of dequantisation noise, that bits/dim is averaged over.
        seed: of that noise.
    """

    noise: float = 0.05
    prior: float = 1.0
    over: Literal["latents", "pixels"] = "latents"
    steps: int = 200
    tolerance: float = 1e-3
    batch: int = 16
    draws: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, as_whole, "steps", "batch", "draws", least=1)
        settle(self, as_real, "noise", above=0, most=10)
        settle(self, as_real, "prior", above=0)
        settle(self, as_real, "tolerance", least=0)
        settle(self, as_choice, "over", choices=("latents", "pixels"))
        settle(self, as_seed, "seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Images brought to where the model finds them likely.

    Attributes:
        values: uint8 [N, C, H, W], 8-bit, of the model's bit depth.
        distance: float64 [N], root mean square of the difference between `values` and the images given, as a share of
            the range from black to white.
        before: float64 [N], bits/dim of the images given, averaged over dequantisation noise; infinity where it is not
            finite.
        after: float64 [N], of `values`.
        steps: int64 [N], iterations.
        converged: bool [N]; False where they ran out.
        evaluations: int64 [N], passes through the model with their gradients.
        nonfinite: int64 [N], how many of those were not finite, after each of which the step was halved.
        seconds: wall time.
    """

    values: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.float64]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    steps: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    evaluations: npt.NDArray[np.int64]
    nonfinite: npt.NDArray[np.int64]
    seconds: float


def project(
    model: GradientModel,
    values: npt.NDArray[np.uint8],
    *,
    settings: ProjectSettings | None = None,
    labels: npt.ArrayLike | None = None,
    progress: CountProgress | None = None,
) -> Projection:
    """Find, near each image, one that is likely under the model: MAP denoising (Asim et al. 2020).

    Over latents: `prior |z|^2 / 2 + |decode(z) - y|^2 / (2 noise^2)`, minimised by L-BFGS from the latents of the image
    (from zero where the image has none that are finite). Over pixels: `-prior log p(x) + |x - y|^2 / (2 noise^2)`, from
    the image itself.

    Args:
        model: see `glow_deploy.engines.pytorch_gradient.open_model_gradient`.
        values: uint8 [N, C, H, W], 8-bit.
        settings: how to project; None for the defaults.
        labels: [N], for class-conditional models.
        progress: called with (iterations done, at most).

    Raises:
        DataError: the images do not fit the model.
        UsageError: labels are missing or not wanted.
        UnsoundModelError: not even zero latents decode to finite values; over pixels: an image has no finite
            likelihood to start from.

    Examples:
        >>> from glow_deploy.inverse.gradient_model import ExampleGradient
        >>> values = np.full((1, 1, 2, 2), 252, np.uint8)
        >>> found = project(ExampleGradient(size=(2, 2)), values, settings=ProjectSettings(noise=0.25))
        >>> found.values.ravel().tolist()  # half way to the grey that this model finds likeliest
        [189, 189, 189, 189]
        >>> bool(found.after[0] < found.before[0])
        True
    """
    begun = time.perf_counter()
    settings = settings or ProjectSettings()
    wanted = next(spec.shape for spec in model.encoder.inputs if spec.name == "x")
    if values.ndim != 4 or not len(values) or values.shape[1:] != wanted:
        raise DataError(f"pictures are {values.shape}, the model takes (N, C, H, W) = {('N', *wanted)}")
    n_bits = model.encoder.n_bits
    pixels = values_to_pixels(values, n_bits)
    y = check_labels(model.encoder, labels, len(values))
    target = values_to_x(values, n_bits).astype(np.float64)
    total = math.ceil(len(values) / settings.batch) * settings.steps
    parts = []
    for number, first in enumerate(range(0, len(values), settings.batch)):
        rows = slice(first, first + settings.batch)

        def report(done: int, before: int = number * settings.steps) -> None:
            if progress is not None:
                progress(before + done, total)

        parts.append(_solve(model, target[rows], None if y is None else y[rows], settings, report))
        report(settings.steps)
    solved = concatenate_solutions(parts)
    found = x_to_values(solved.x, n_bits)
    moved = (values_to_pixels(found, n_bits).astype(np.float64) - pixels) / 2**n_bits
    coding = EncodeSettings(draws=settings.draws, seed=settings.seed)
    return Projection(
        values=found,
        distance=np.sqrt((moved**2).reshape(len(moved), -1).mean(axis=1)),
        before=image_bits_per_dim(model.encoder, values, labels=y, settings=coding),
        after=image_bits_per_dim(model.encoder, found, labels=y, settings=coding),
        steps=solved.steps,
        converged=solved.converged,
        evaluations=solved.evaluations,
        nonfinite=solved.nonfinite,
        seconds=time.perf_counter() - begun,
    )


def _solve(
    model: GradientModel,
    target: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64] | None,
    settings: ProjectSettings,
    report: Callable[[int], None],
) -> Solution:
    search = LbfgsSettings(steps=settings.steps, tolerance=settings.tolerance)
    every = np.ones(target.shape, bool)
    if settings.over == "pixels":
        return solve_pixels(
            model,
            target=target,
            start=target,
            free=every,
            noise=settings.noise,
            prior=settings.prior,
            y=y,
            search=search,
            report=report,
        )
    start = _encode(model, target, y)
    return solve_latents(
        model,
        target=target,
        known=every,
        centre=np.zeros_like(start),
        start=start,
        stages=[Stage(noise=settings.noise, share=1.0)],
        prior=settings.prior,
        y=y,
        search=search,
        report=report,
    )


def _encode(
    model: GradientModel, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.float64]:
    """Latents of the images, zero where there are none that are finite."""
    dtype = next(spec.dtype for spec in model.encoder.inputs if spec.name == "x")
    feeds: dict[str, np.ndarray] = {"x": x.astype(dtype)}
    out = model.encoder.run(feeds if y is None else feeds | {"y": y})
    z = Flattener.of(model).join([out[spec.name] for spec in latent_specs(model.encoder.outputs)])
    z[~np.isfinite(z).all(axis=1)] = 0
    return z
