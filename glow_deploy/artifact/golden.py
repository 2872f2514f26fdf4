"""Golden vectors: images with what the trained model makes of them in float64.

They let a machine without torch or the checkpoint verify its own engines.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glow_deploy.errors import BundleError, DataError

from .npz import NpzArchive

__all__ = ["Golden", "golden_bytes", "read_golden"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """N images and their float64 references.

    Attributes:
        x: [N,C,H,W] float32, bin centres.
        z: z1 ... zL, each [N,...] float64.
        log_prob: [N] float64, nats, of `x` as it stands (no dequantisation noise).
        x_hat: [N,C,H,W] float64, the model's own decode of `z`.
        y: [N] int64 class labels, or None.
        integers: of an exact model: z as it carries them, int64; None for all others. Then `z` holds the same as
            standard normal numbers, and all of it is of the integer model.
    """

    x: np.ndarray
    z: tuple[np.ndarray, ...]
    log_prob: np.ndarray
    x_hat: np.ndarray
    y: np.ndarray | None = None
    integers: tuple[np.ndarray, ...] | None = None

    def __repr__(self) -> str:
        return f"Golden({len(self)} images {self.x.shape[1:]}, {len(self.z)} levels)"

    def __len__(self) -> int:
        return int(self.x.shape[0])


def golden_bytes(golden: Golden) -> bytes:
    """Return the .npz file; the same arrays give the same bytes."""
    arrays = {"x": golden.x, **{f"z{level}": z for level, z in enumerate(golden.z, start=1)}}
    arrays |= {"log_prob": golden.log_prob, "x_hat": golden.x_hat}
    if golden.y is not None:
        arrays["y"] = golden.y
    if golden.integers is not None:
        arrays |= {f"integer{level}": part for level, part in enumerate(golden.integers, start=1)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_golden(
    path: Path,
    *,
    data: bytes | None = None,
    image_shape: tuple[int, int, int],
    latent_shapes: Sequence[tuple[int, int, int]],
    labelled: bool,
    integers: bool = False,
) -> Golden:
    """Read golden vectors and check them against the model's shapes.

    Args:
        path: the file, or its name for messages where `data` is given.
        data: its bytes, already read.
        image_shape: (C, H, W).
        latent_shapes: (C, H, W) of z1 ... zL.
        labelled: whether there are classes `y`.
        integers: whether there are those of an exact model.

    Raises:
        BundleError: damaged, of other shapes or dtypes, empty, or with non-finite references.
    """
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {"x": ("float32", image_shape)}
    wanted |= {f"z{level}": ("float64", shape) for level, shape in enumerate(latent_shapes, start=1)}
    wanted |= {"log_prob": ("float64", ()), "x_hat": ("float64", image_shape)}
    if labelled:
        wanted["y"] = ("int64", ())
    if integers:
        wanted |= {f"integer{level}": ("int64", shape) for level, shape in enumerate(latent_shapes, start=1)}
    try:
        with NpzArchive(path, data=data) as archive:
            arrays = {name: archive.read(name) for name in wanted}
    except DataError as error:
        raise BundleError(f"{error}; export the model again") from error
    count = arrays["x"].shape[0] if arrays["x"].ndim else 0
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.shape != (count, *shape) or count == 0:
            raise BundleError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}; {dtype} [n, {', '.join(map(str, shape))}] wanted"
            )
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} holds NaN or infinity, so it is no reference; export the model again")
    return Golden(
        x=arrays["x"],
        z=tuple(arrays[f"z{level}"] for level in range(1, len(latent_shapes) + 1)),
        log_prob=arrays["log_prob"],
        x_hat=arrays["x_hat"],
        y=arrays.get("y"),
        integers=tuple(arrays[f"integer{level}"] for level in range(1, len(latent_shapes) + 1)) if integers else None,
    )
