"""What would make a model easier to deploy, where its figures say that something would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from glow_deploy.artifact.manifest import Manifest
from glow_deploy.numerics.measures import half_bin
from glow_deploy.verify.report.rows import CellReport, RandomReport
from glow_deploy.verify.report.verification import ImageSetReport

if TYPE_CHECKING:
    from glow_deploy.budget.report import BudgetReport

__all__ = ["suggest"]

_KAPPA = 1e3  # beyond it a 1x1 convolution costs three digits
_NEAR = 10.0  # float32 errors closer than this to half a bin leave no room for anything narrower


def suggest(
    manifest: Manifest,
    images: Sequence[ImageSetReport],
    cells: Sequence[CellReport],
    random: Sequence[RandomReport],
    *,
    budget: BudgetReport | None,
) -> Iterator[str]:
    """Name the training option that addresses what was found.

    Args:
        manifest: of the bundle.
        images: the sets of images, with their yardsticks.
        cells: the matrix.
        random: latents drawn at random.
        budget: where it was measured.
    """
    unbounded = manifest.model["coupling"] == "affine" and not manifest.model["bounded_scale"]
    lost = sum(row.lost for row in random if row.encode == row.decode) or any(not c.x_error.finite for c in cells)
    if unbounded and lost:
        yield (
            "its affine scale is unbounded and some draws are lost: train with --bounded-scale, which keeps 1/scale "
            "below 2 in every step"
        )
    if budget is not None:
        worst = max(budget.steps, key=lambda step: step.kappa)
        if worst.kappa > _KAPPA:
            yield (
                f"the 1x1 convolution of {worst.step} has condition number {worst.kappa:.1e}: train with "
                "--conditioning-penalty"
            )
    half = half_bin(manifest.n_bits)
    largest = max((image.yardstick.x_hat.max for image in images), default=0.0)
    if _NEAR * largest > half:
        yield (
            f"the trained model's own float32 error reaches {largest / half:.0%} of half a pixel step: train with "
            "--inverse-penalty, which keeps the gain of the inverse down"
        )
