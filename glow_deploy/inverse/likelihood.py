"""Bits/dim of results that may be any image, one that the model cannot encode included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import UnsoundModelError
from glow_deploy.latents.coding import EncodeSettings, encode_images
from glow_deploy.protocol import Engine

__all__ = ["image_bits_per_dim", "psnr"]


def image_bits_per_dim(
    encoder: Engine,
    values: npt.NDArray[np.uint8],
    *,
    labels: npt.NDArray[np.int64] | None = None,
    settings: EncodeSettings | None = None,
) -> npt.NDArray[np.float64]:
    """Measure bits/dim over dequantisation noise, the same draws for every image, whatever its row.

    Args:
        encoder: of the model, on any backend.
        values: uint8 [N, C, H, W], 8-bit picture values.
        labels: int64 [N], for class-conditional models.
        settings: of which the draws and the seed are used.

    Returns:
        float64 [N]; infinity where the likelihood is not finite, as for an image that the model cannot encode.

    Examples:
        >>> from glow_deploy.engines.example import example_pair
        >>> encoder, _ = example_pair()
        >>> grey, white = np.full((1, 1, 4, 4), 128, np.uint8), np.full((1, 1, 4, 4), 255, np.uint8)
        >>> image_bits_per_dim(encoder, np.concatenate([grey, white])).round(2)
        array([4.33, 7.02])
    """
    found = np.full(len(values), np.inf)
    for row in range(len(values)):
        own = None if labels is None else labels[row : row + 1]
        try:
            latents = encode_images(encoder, values[row : row + 1], settings=settings, labels=own)
        except UnsoundModelError:
            continue
        figures = latents.bits_per_dim if latents.bits_per_dim is not None else latents.bits_per_dim_centre
        assert figures is not None
        found[row] = figures[0]
    return found


def psnr(
    values: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], *, where: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float64]:
    """Peak signal-to-noise ratio of 8-bit pictures against the true ones, in dB.

    Args:
        values: uint8 [..., C, H, W].
        truth: uint8, of a shape that fits.
        where: bool, likewise, the values that count; None: all.

    Returns:
        float64 [...]; infinity where there is no difference.

    Examples:
        >>> psnr(np.full((1, 1, 2, 2), 10, np.uint8), np.zeros((1, 1, 2, 2), np.uint8)).round(2)
        array([28.13])
    """
    wrong = (values.astype(np.float64) - truth) ** 2
    counted = np.broadcast_to(True if where is None else where, wrong.shape)
    axes = (-3, -2, -1)
    error = (wrong * counted).sum(axis=axes) / counted.sum(axis=axes)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255.0**2 / error))
