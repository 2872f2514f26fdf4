"""Whether another project's checkpoint was read as it was meant: told by how likely images of its own kind are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.engines.pytorch import full_precision

from .settings import ExportSettings

if TYPE_CHECKING:
    from glow_core import Checkpoint, Glow, ImportOptions
    from glow_core.import_options import InputRange, ScaleMap

    from .examine import Findings
    from .images import GoldenImages

__all__ = ["origin_notes", "suspected_misreading"]

_FEW = 8  # images tell a wrong reading, which costs whole bits/dim
_SUSPECT = 0.9  # of n_bits: pixels drawn at random have all of it, and a trained model about half
_BETTER = 0.1  # bits/dim


def origin_notes(stored: Checkpoint, found: Findings, *, suspicion: str | None) -> list[str]:
    """Say how another project's model was read, and whether its likelihoods make sense; nothing of one trained here.

    Args:
        stored: the checkpoint.
        found: by the examination.
        suspicion: of `suspected_misreading`.
    """
    if stored.origin is None:
        return []
    how = "converted from" if stored.origin.converted else "read as"
    notes = [f"{how} a checkpoint of {stored.origin.project}", *stored.origin.notes]
    if found.golden is None or found.source != "data":
        unseen = (
            "exported without images of its own kind, so that the reading is unconfirmed: `export --data SPEC` shows "
            "whether its likelihoods make sense"
        )
        return [*notes, unseen]
    config = stored.config
    bits = float(np.mean(config.n_bits - found.golden.log_prob / (config.dims * math.log(2))))
    notes.append(f"{len(found.golden.x)} images of --data have {bits:.3f} bits/dim at bin centres")
    if not bits < config.n_bits:
        notes.append(
            f"that is no better than pixels drawn at random ({config.n_bits} bits/dim): is the model trained, and are "
            "--n-bits, --image-size, --input-range and the images those it was trained with?"
        )
    return notes if suspicion is None else [*notes, suspicion]


def suspected_misreading(
    path: Path, stored: Checkpoint, images: GoldenImages | str, settings: ExportSettings
) -> str | None:
    """Read the file in other ways where images of its own kind are about as unlikely as noise.

    Args:
        path: the checkpoint.
        stored: what was read from it.
        images: those to be exported with it, or why there are none.
        settings: of the export; say how the file was read.

    Returns:
        The options that make the images likeliest, in words; None where the reading is not suspected, or none of the
        others is better.
    """
    if stored.origin is None or stored.origin.converted or isinstance(images, str) or images.source != "data":
        return None
    n_bits = stored.config.n_bits
    now = _bits_per_dim(stored.glow(weights=settings.weights), images)
    if now < _SUSPECT * n_bits:
        return None
    tried = [(_bits_of(path, options, images, settings), options) for options in _others(stored, settings)]
    best, options = min(tried, key=lambda one: one[0])
    if not best < min(now, n_bits) - _BETTER:
        return None
    said = f"--scale-map {options.scale_map} " if stored.config.coupling == "affine" else ""
    shown = f"{now:.3f}" if math.isfinite(now) else "no finite"
    return (
        f"it was probably read with the wrong options: images of --data have {best:.3f} bits/dim, not {shown}, with "
        f"{said}--input-range {options.input_range}"
    )


def _others(stored: Checkpoint, settings: ExportSettings) -> Iterator[ImportOptions]:
    """All ways to read a file that its size and depth leave open; that of `stored` is among them."""
    from glow_core import ImportOptions

    told = settings.options or ImportOptions()
    scale_maps: tuple[ScaleMap | None, ...] = (None,)
    if stored.config.coupling == "affine":
        scale_maps = ("sigmoid", "sigmoid_plain")
    input_ranges: tuple[InputRange, ...] = ("unit", "centred")
    for scale_map, input_range in itertools.product(scale_maps, input_ranges):
        yield replace(told, scale_map=scale_map, input_range=input_range)


def _bits_of(path: Path, options: ImportOptions, images: GoldenImages, settings: ExportSettings) -> float:
    from glow_core import read_checkpoint
    from glow_core.errors import GlowCoreError

    try:
        return _bits_per_dim(read_checkpoint(path, options=options, mmap=True).glow(weights=settings.weights), images)
    except GlowCoreError:
        return math.inf


def _bits_per_dim(glow: Glow, images: GoldenImages) -> float:
    """The mean over a few images, float32; infinite where it is not finite."""
    import torch

    config = glow.config
    y = None if images.y is None else torch.from_numpy(images.y[:_FEW])
    with torch.inference_mode(), full_precision("cpu"):
        log_prob = glow.log_prob(torch.from_numpy(images.x[:_FEW]), y).double().numpy()
    bits = float(np.mean(config.n_bits - log_prob / (config.dims * math.log(2))))
    return bits if math.isfinite(bits) else math.inf
