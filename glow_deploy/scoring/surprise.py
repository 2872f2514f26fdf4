"""Where in a picture the surprise is: latents' energy by level, and the likelihood with one patch smoothed away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import pixels_to_x, values_to_pixels
from glow_deploy.latents.specs import check_labels, latent_specs, need_role
from glow_deploy.protocol import Engine

__all__ = ["RawSurprise", "default_patch", "join_surprise", "measure_surprise", "smoothed"]

Float64 = npt.NDArray[np.float64]

_ROWS = 256  # of one run of the encoder


@dataclass(frozen=True, kw_only=True, eq=False)
class RawSurprise:
    """What n pictures of H x W pixels are made of, before they are compared with normal ones.

    Attributes:
        energies: of z1 ... zL, float64 [n, H/2^l, W/2^l] each: the mean of z^2 over the channels at each place. For the
            model's own samples it is 1 on average.
        gains: float64 [n, H/p, W/p]: how much likelier the picture gets, in bits for each value of the patch, when one
            patch of p x p pixels is filled in from its surroundings. High where something is that does not belong.
        patch: p.
    """

    energies: tuple[Float64, ...]
    gains: Float64
    patch: int

    def __len__(self) -> int:
        return len(self.gains)


def default_patch(height: int, width: int) -> int:
    """A patch of about an eighth of the smaller side, at least 2 pixels, that divides both sides.

    Examples:
        >>> default_patch(16, 16), default_patch(32, 48), default_patch(256, 256), default_patch(6, 10)
        (2, 4, 32, 2)
    """
    common = math.gcd(height, width)
    wanted = max(2, min(height, width) // 8)
    return next(size for size in range(min(wanted, common), 0, -1) if common % size == 0)


def measure_surprise(
    encoder: Engine, values: npt.NDArray[np.uint8], *, patch: int, labels: npt.ArrayLike | None = None
) -> RawSurprise:
    """Look for what is strange in pictures, at bin centres and so without noise.

    A picture takes 1 + HW/p^2 runs of the encoder.

    Args:
        encoder: an open encoder.
        values: uint8 [n, C, H, W], 8-bit picture values, n >= 1.
        patch: size of the patches, which divides H and W.
        labels: [n] whole numbers, for class-conditional models.

    Raises:
        UsageError: the engine is a decoder, the patch does not fit, or labels are missing or not wanted.
        DataError: the pictures do not fit the model, or a label is no class of it.
    """
    need_role(encoder, "encoder", "a map of surprise")
    shape = next(spec.shape for spec in encoder.inputs if spec.name == "x")
    if values.ndim != 4 or values.shape[1:] != shape or not len(values):
        raise DataError(f"pictures are {list(values.shape)}, the model takes [n, {', '.join(map(str, shape))}]")
    _, height, width = shape
    if patch < 1 or height % patch or width % patch or patch >= min(height, width):
        raise UsageError(f"patch={patch} does not divide {width}x{height} pixels into several patches")
    every = check_labels(encoder, labels, len(values))
    x = pixels_to_x(values_to_pixels(values, encoder.n_bits), encoder.n_bits)
    names = [spec.name for spec in latent_specs(encoder.outputs)]
    outputs = _encode(encoder, x, every)
    before = outputs["log_prob"].astype(np.float64)
    gains = np.empty((len(x), height // patch, width // patch))
    scale = math.log(2.0) * patch * patch * shape[0]
    with np.errstate(invalid="ignore", over="ignore"):  # what overflows is infinite, and found to be strange
        energies = tuple((outputs[name].astype(np.float64) ** 2).mean(axis=1) for name in names)
        for row, column, filled in smoothed(x, patch):
            after = _encode(encoder, filled, every)["log_prob"].astype(np.float64)
            gains[:, row, column] = (after - before) / scale
    return RawSurprise(energies=energies, gains=gains, patch=patch)


def smoothed(x: npt.NDArray[np.float32], patch: int) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """Give pictures once for each patch, with that patch filled in from the pixels around it.

    The filling is the mean of two straight lines, from the left to the right neighbours and from the upper to the lower
    ones; at an edge of the picture the neighbours of the other side alone count.

    Args:
        x: [n, C, H, W].
        patch: size of the patches, which divides H and W.

    Yields:
        Row and column of the patch, and the pictures, which are new arrays.
    """
    _, _, height, width = x.shape
    ways = np.arange(1, patch + 1, dtype=np.float32) / np.float32(patch + 1)
    for top in range(0, height, patch):
        for left in range(0, width, patch):
            low, right = top + patch, left + patch
            rows, columns = slice(top, low), slice(left, right)
            a = x[:, :, rows, left - 1] if left else x[:, :, rows, right]
            b = x[:, :, rows, right] if right < width else x[:, :, rows, left - 1]
            c = x[:, :, top - 1, columns] if top else x[:, :, low, columns]
            d = x[:, :, low, columns] if low < height else x[:, :, top - 1, columns]
            across = a[..., None] + (b - a)[..., None] * ways
            down = c[:, :, None] + (d - c)[:, :, None] * ways[:, None]
            filled = x.copy()
            filled[:, :, rows, columns] = (across + down) / 2
            yield top // patch, left // patch, filled


def join_surprise(parts: list[RawSurprise]) -> RawSurprise:
    """Join what was measured batch by batch.

    Raises:
        DataError: there is nothing to join.
    """
    if not parts:
        raise DataError("there are no pictures to look at")
    return RawSurprise(
        energies=tuple(np.concatenate(level) for level in zip(*(part.energies for part in parts), strict=True)),
        gains=np.concatenate([part.gains for part in parts]),
        patch=parts[0].patch,
    )


def _encode(encoder: Engine, x: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None) -> dict[str, np.ndarray]:
    parts = []
    for first in range(0, len(x), _ROWS):
        rows = slice(first, first + _ROWS)
        feeds: dict[str, np.ndarray] = {"x": x[rows]}
        parts.append(encoder.run(feeds if labels is None else feeds | {"y": labels[rows]}))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
