"""Latent files: .npz with `z1` ... `zL`, `names`, `y`, and what the model says about the images' likelihood."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_instance, as_path
from glow_deploy.artifact.files import atomic_path
from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError
from glow_deploy.printable import shown
from glow_deploy.protocol import TensorSpec

from .coding import Latents
from .specs import is_latent_name, latent_specs, show_shape

__all__ = ["LATENT_KEYS", "load_latents", "save_latents"]

_FIGURES = ("log_prob", "bits_per_dim", "bits_per_dim_centre")
LATENT_KEYS = ("names", *_FIGURES, "y", "class_log_prob")
"""What may stand in a latent file beside `z1` ... `zL`."""


def save_latents(path: str | os.PathLike[str], latents: Latents) -> None:
    """Write latents to an .npz file, whole or not at all; an existing file is replaced.

    The keys are `z1` ... `zL`, `names`, and those of `log_prob`, `bits_per_dim`, `bits_per_dim_centre` (float64 [n]),
    `y` (int64 [n], the class labels) and `class_log_prob` (float64 [n, K]) that are known. No suffix is added to
    `path`.
    """
    target = as_path("path", path)
    latents = as_instance("latents", latents, Latents)
    arrays: dict[str, npt.NDArray[np.generic]] = {f"z{i}": z for i, z in enumerate(latents.z, start=1)}
    arrays |= {name: value for name in _FIGURES if (value := getattr(latents, name)) is not None}
    # File names that are not UTF-8 come with letters that are none; they are written as escapes.
    arrays["names"] = np.array(
        [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in latents.names], dtype=np.str_
    )
    if latents.labels is not None:
        arrays["y"] = latents.labels
    if latents.class_log_prob is not None:
        arrays["class_log_prob"] = latents.class_log_prob
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs mistake the arrays for `allow_pickle`


def load_latents(
    path: str | os.PathLike[str], inputs: Sequence[TensorSpec], *, num_classes: int | None = None, need_y: bool = True
) -> Latents:
    """Read latents for a decoder. Only `z1` ... `zL` (and `y` for class-conditional models) need to be there.

    Args:
        path: an .npz file; nothing in it is ever unpickled.
        inputs: `decoder.inputs`, which the latents must fit.
        num_classes: `decoder.num_classes`: `y` must be below it; None does not look.
        need_y: for class-conditional models: `y` must be there. Otherwise it is left unread, because the caller has
            labels of its own.

    Returns:
        The latents, without `class_log_prob`; `names` are the row numbers where the file has none.

    Raises:
        DataError: the file is missing, damaged or not an .npz file; an array is missing, of the wrong shape or type, or
            not finite.
    """
    path = as_path("path", path)
    with NpzArchive(path) as archive:
        specs = latent_specs(inputs)
        wanted = [spec.name for spec in specs]
        extra = sorted(filter(is_latent_name, archive.entries))
        if not extra:
            held = ", ".join(map(shown, sorted(archive.entries)[:5])) or "nothing"
            raise DataError(
                f"{path} holds no latents, only {held}: "
                "`glow-deploy encode BUNDLE PICTURES -o FILE.npz` writes the latents of pictures"
            )
        if set(extra) != set(wanted):
            raise DataError(
                f"{path} holds latents {', '.join(map(shown, extra[:16]))}, the model takes {', '.join(wanted)}; "
                "were they made by another model?"
            )
        count = next(iter(archive.entries[wanted[0]].shape), 0)
        for spec in specs:
            entry = archive.entries[spec.name]
            if entry.shape != (count, *spec.shape) or count < 1:
                held, wants = show_shape(entry.shape), show_shape(spec.shape, "N")
                raise DataError(
                    f"{path}: `{spec.name}` has shape {held}, the model takes {wants}, "
                    "with the same N >= 1 for every level"
                )
            if entry.dtype.kind != "f":
                raise DataError(f"{path}: `{spec.name}` is {entry.dtype}, not floating point")
        z = []
        for spec in specs:
            with np.errstate(over="ignore"):  # what float32 cannot hold is found below
                level = np.asarray(archive.read(spec.name)).astype(spec.dtype)
            if not np.isfinite(level).all():
                raise DataError(f"{path}: `{spec.name}` holds values that are not finite")
            z.append(level)
        figures = {name: _figure(archive, name, count) for name in _FIGURES}
        return Latents(
            z=tuple(z),
            names=_names(archive, count),
            labels=_labels(archive, count, num_classes) if need_y and _labelled(inputs) else None,
            **figures,
        )


def _figure(archive: NpzArchive, name: str, count: int) -> npt.NDArray[np.float64] | None:
    if name not in archive:
        return None
    entry = archive.entries[name]
    if entry.shape != (count,) or entry.dtype.kind != "f":
        raise DataError(
            f"{archive.path}: `{name}` is {entry.dtype} {entry.shape}, not one number for each of {count} rows"
        )
    return archive.read(name).astype(np.float64)


def _names(archive: NpzArchive, count: int) -> tuple[str, ...]:
    if "names" not in archive:
        return tuple(str(i) for i in range(count))
    entry = archive.entries["names"]
    if entry.shape != (count,) or entry.dtype.kind != "U":
        raise DataError(f"{archive.path}: `names` is {entry.dtype} {entry.shape}, not {count} texts")
    return archive.texts("names")


def _labelled(inputs: Sequence[TensorSpec]) -> bool:
    return any(spec.name == "y" for spec in inputs)


def _labels(archive: NpzArchive, count: int, num_classes: int | None) -> npt.NDArray[np.int64]:
    if "y" not in archive:
        raise DataError(
            f"{archive.path} has no `y`, so the classes to decode as are unknown: say which (labels=), or encode again"
        )
    entry = archive.entries["y"]
    if entry.shape != (count,) or entry.dtype.kind not in "iu":
        raise DataError(f"{archive.path}: `y` is {entry.dtype} {entry.shape}, not {count} whole numbers")
    labels = archive.read("y").astype(np.int64)
    top = np.iinfo(np.int64).max if num_classes is None else num_classes - 1
    wrong = labels[(labels < 0) | (labels > top)]
    if wrong.size:
        known = "0 or more" if num_classes is None else f"0 to {top}: was it encoded with another model?"
        raise DataError(f"{archive.path}: `y` holds {wrong[0]}; the model's classes are {known}")
    return labels
