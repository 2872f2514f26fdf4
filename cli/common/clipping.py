"""Words on what a picture file cannot show."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["clipped_line"]


def clipped_line(shares: npt.NDArray[np.floating], excess: npt.NDArray[np.floating]) -> str | None:
    """Say how much of some pictures was cut off at black and white; None where nothing was.

    Args:
        shares: [n], which part of a picture's values lies outside the range of pixels.
        excess: [n], how far they do at most, in pixel steps.
    """
    outside = shares > 0
    if not outside.any():
        return None
    return (
        f"clipped: {int(outside.sum())} of {len(shares)} pictures leave the range of pixels, in "
        f"{shares[outside].mean():.1%} of their values, by up to {excess[outside].max():.3g} pixel steps"
    )
