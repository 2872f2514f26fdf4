"""Latents as users have them, made into what a decoder reads: z1 ... zL and labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_path, quoted
from glow_deploy.errors import UsageError
from glow_deploy.latents import LATENT_KEYS, Latents, latent_specs, load_latents
from glow_deploy.protocol import Engine

from .pictures import Pictures

__all__ = ["Coded", "take_latents"]

Coded: TypeAlias = (
    Latents
    | Pictures
    | str
    | Path
    | Mapping[str, npt.NDArray[np.generic]]
    | Sequence[npt.NDArray[np.floating]]
    | npt.NDArray[np.floating]
)
"""What `encode` gave, `Pictures` with the latents they were decoded from, a latent file, or the arrays themselves.

Arrays are z1 ... zL, each [N, C, H, W]: in order, or by name with the other keys of a latent file beside them, of which
`y` is taken as labels. A model of one level takes z1 alone, too.
"""

_WANTED = "what `encode` gave, Pictures, a latent file, or arrays z1 to z{levels}"


def take_latents(
    latents: Coded, *, decoder: Engine, labelled: bool
) -> tuple[list[npt.NDArray[Any]], npt.NDArray[Any] | None]:
    """Make latents of any kind into arrays.

    Args:
        latents: see `Coded`.
        decoder: that will read them.
        labelled: the caller has labels of its own, so those of a file are not needed.

    Returns:
        z1 ... zL, and the labels that came with them.

    Raises:
        UsageError: not latents, too many levels or too few, or an unknown name.
        DataError: a latent file that cannot be read or does not fit.
    """
    names = [spec.name for spec in latent_specs(decoder.inputs)]
    if isinstance(latents, (str, os.PathLike)):
        path = as_path("latents", latents)
        latents = load_latents(path, decoder.inputs, num_classes=decoder.num_classes, need_y=not labelled)
    if isinstance(latents, (Latents, Pictures)):
        return list(latents.z), latents.labels
    if isinstance(latents, Mapping):
        return _by_name(latents, names)
    if isinstance(latents, np.ndarray) and len(names) == 1 and latents.ndim == 4:
        latents = [latents]
    if isinstance(latents, bytes) or not isinstance(latents, Iterable):
        raise UsageError(f"latents must be {_WANTED.format(levels=len(names))}, not {quoted(latents)}")
    found = list(latents)
    if len(found) != len(names):
        raise UsageError(
            f"the model has {len(names)} levels, and latents has {len(found)} arrays; give {', '.join(names)}"
        )
    return [_level(name, level) for name, level in zip(names, found, strict=True)], None


def _by_name(
    latents: Mapping[str, npt.NDArray[np.generic]], names: Sequence[str]
) -> tuple[list[npt.NDArray[Any]], npt.NDArray[Any] | None]:
    missing = [name for name in names if name not in latents]
    if missing:
        raise UsageError(f"latents lacks {', '.join(missing)}; give {', '.join(names)}")
    unknown = [str(name) for name in latents if name not in (*names, *LATENT_KEYS)]
    if unknown:
        raise UsageError(
            f"latents has {', '.join(unknown)}, which this model does not know; give {', '.join(names)}, and of "
            f"{', '.join(LATENT_KEYS)} what there is"
        )
    labels = latents["y"] if "y" in latents else None  # noqa: SIM401  # an open .npz file has no `get` of its own
    return [_level(name, latents[name]) for name in names], labels


def _level(name: str, level: object) -> npt.NDArray[Any]:
    try:
        array = np.asarray(level)
    except ValueError:
        raise UsageError(f"{name} of latents is no array: its rows are not of one length") from None
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} of latents must be an array of numbers [N, C, H, W], not {quoted(level)}")
    return array
