"""Likelihoods of several sets as overlaid histograms."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.errors import DataError, UsageError

from .score import HeldOut
from .sets import ScoredSet

__all__ = ["histogram_bytes", "write_histogram"]

_SUFFIXES = (".png", ".svg")
_FEWEST_BINS, _MOST_BINS = 16, 80
# Okabe and Ito's colours, which the colour-blind tell apart; black is left for the reference.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def histogram_bytes(
    sets: Sequence[ScoredSet], *, reference: HeldOut | None = None, kind: str = "png", title: str | None = None
) -> bytes:
    """Draw the bits/dim of each set as a histogram of its own area 1, over one axis.

    Pictures without a finite likelihood cannot be drawn; the legend counts them.

    Args:
        sets: one or more, of one model.
        reference: its mean is drawn as a line.
        kind: `png` or `svg`.
        title: above the picture, or None.

    Raises:
        DataError: no picture has a finite likelihood.
        ImportError: matplotlib is not installed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = [found.shown for found in sets]
    every = np.concatenate([*shown, np.zeros(0)])
    if not every.size:
        raise DataError("no picture has a finite likelihood, so there is nothing to draw")
    # Single far outliers would squeeze everything else into one bin.
    low, high = np.quantile(every, [0.001, 0.999])
    margin = max(0.05 * (high - low), 1e-3)
    # By the cube root of the smallest set, as Rice's rule; twice as many, for several sets share the axis.
    bins = int(np.clip(4 * min(bits.size for bits in shown if bits.size) ** (1 / 3), _FEWEST_BINS, _MOST_BINS))
    edges = np.linspace(low - margin, high + margin, bins + 1)
    figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    for index, (found, bits) in enumerate(zip(sets, shown, strict=True)):
        if not bits.size:
            continue
        colour = _COLOURS[index % len(_COLOURS)]
        label = f"{found.name}: mean {bits.mean():.2f}, n = {len(found)}"
        lost = len(found) - bits.size
        label += f" ({lost} not finite)" if lost else ""
        weights = np.full(bits.size, 1 / (bits.size * (edges[1] - edges[0])))
        axes.hist(bits.clip(edges[0], edges[-1]), bins=edges, weights=weights, color=colour, alpha=0.45, label=label)
        axes.hist(bits.clip(edges[0], edges[-1]), bins=edges, weights=weights, color=colour, histtype="step", lw=1.2)
    if reference is not None:
        label = f"mean of the reference, {reference.mean:.2f}"
        axes.axvline(reference.mean, color="black", lw=1.2, ls="--", label=label)
    axes.set_xlabel("bits/dim (less is likelier)")
    axes.set_ylabel("density")
    axes.set_xlim(edges[0], edges[-1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    if title is not None:
        axes.set_title(title, fontsize="medium")
    stream = io.BytesIO()
    # No date, no random identifiers: the same scores give the same bytes.
    with rc_context({"svg.hashsalt": "glow-deploy"}):
        figure.savefig(stream, format=kind, metadata={"Software": None} if kind == "png" else {"Date": None})
    return stream.getvalue()


def write_histogram(
    path: str | os.PathLike[str],
    sets: Sequence[ScoredSet],
    *,
    reference: HeldOut | None = None,
    title: str | None = None,
) -> None:
    """Write the picture of `histogram_bytes`, whole or not at all; an existing file is replaced.

    Args:
        path: a .png or .svg file.
        sets: one or more, of one model.
        reference: its mean is drawn as a line.
        title: above the picture, or None.

    Raises:
        UsageError: another suffix.
        DataError: no picture has a finite likelihood.
        ImportError: matplotlib is not installed.
    """
    from glow_deploy.artifact.files import atomic_write

    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"{path}: a histogram is written as {' or '.join(_SUFFIXES)}")
    atomic_write(Path(path), histogram_bytes(sets, reference=reference, kind=suffix[1:], title=title))
