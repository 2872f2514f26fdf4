"""What is known about a model's steps besides one backend's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glow_deploy.artifact.golden import Golden
from glow_deploy.verify.report.steps import Direction, WeightFault

from .compare import Model
from .noise import StageNoise
from .numbers import StepNumbers
from .taps import Layout, run_stage
from .weights import Weights

__all__ = ["Evidence", "condition_numbers", "swapped_labels"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is known besides one backend's rows.

    Attributes:
        noise: of every stage.
        planned: numbers each step should run in.
        stored: numbers each graph has it run in.
        kappa: condition number of each step's 1x1.
        inverse_scales: largest factor that each step's coupling multiplies by when decoding.
        bounded: whether the scale is bounded, so that the factor is at most 2.
        faults: of the weights.
        deviations: of the float64 latents from the golden ones.
        swapped: words about exchanged class labels of the golden vectors; empty where they fit.
        labelled_splits: whether every latent has a prior for each class, not the last one alone.
    """

    noise: Mapping[tuple[Direction, str], StageNoise]
    planned: Mapping[str, StepNumbers]
    stored: Mapping[Direction, Mapping[str, StepNumbers]]
    kappa: Mapping[str, float]
    inverse_scales: Mapping[str, float]
    bounded: bool
    faults: Sequence[WeightFault]
    deviations: Mapping[str, float]
    swapped: str = ""
    labelled_splits: bool = False


def condition_numbers(encoder: Weights, layout: Layout) -> dict[str, float]:
    """The condition number of every step's 1x1, actnorm included, by step."""
    result = {}
    for step in layout.steps:
        matrix = encoder[f"{step}/invconv/weight"][:, :, 0, 0].astype(np.float64)
        result[step] = float(np.linalg.cond(matrix)) if np.isfinite(matrix).all() else np.inf
    return result


def swapped_labels(model: Model, golden: Golden) -> str:
    """Say so where golden latents fit another class than their label's better, image after image."""
    prior = model.layout.encode[-1]
    if golden.y is None:
        return ""
    count = min(len(golden), 8)
    feeds = {"x": golden.x[:count], "y": golden.y[:count]}
    h = model.reference.run(feeds, outputs=[prior.source])[prior.source]
    classes = len(model.reference.weight("prior/mean"))
    errors = []
    for label in range(classes):
        z = run_stage(model.reference, prior, h, {"y": np.full(count, label, dtype=np.int64)})[prior.output]
        errors.append(np.sqrt(np.mean((z - golden.z[-1][:count]) ** 2, axis=(1, 2, 3))))
    best = np.argmin(errors, axis=0)
    off = np.flatnonzero(best != golden.y[:count])
    if not len(off) or np.min(errors, axis=0)[off].max() > 0.1 * np.array(errors)[golden.y[off], off].min():
        return ""
    first = off[0]
    return f"class labels are exchanged: images labelled {golden.y[first]} have the latents of class {best[first]}"
