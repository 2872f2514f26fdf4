"""Arithmetic between 8-bit picture values, n-bit pixels and the model's `x`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, UsageError

__all__ = [
    "bits_per_dim",
    "pixels_to_values",
    "pixels_to_x",
    "values_to_pixels",
    "values_to_x",
    "x_to_pixels",
    "x_to_values",
]

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def values_to_pixels(values: UInt8Array, n_bits: int) -> UInt8Array:
    """8-bit values to n-bit pixels, `v >> (8 - n_bits)`: the low bits are dropped.

    Args:
        values: uint8, any shape, 0..255.
        n_bits: 1..8.

    Returns:
        uint8, same shape, 0..2^n_bits-1.
    """
    _check_n_bits(n_bits)
    _check_uint8(values, "picture values")
    return np.right_shift(values, np.uint8(8 - n_bits))


def pixels_to_values(pixels: UInt8Array, n_bits: int) -> UInt8Array:
    """N-bit pixels to 8-bit values, `round(p * 255 / (2^n_bits - 1))`: the full range 0..255 is used.

    `values_to_pixels` of the result gives the same pixels back.

    Raises:
        DataError: a pixel is 2^n_bits or more.
    """
    _check_n_bits(n_bits)
    _check_uint8(pixels, "pixels")
    top = 2**n_bits - 1
    if pixels.size and int(pixels.max()) > top:
        raise DataError(f"pixel value {int(pixels.max())} does not fit in {n_bits} bits (at most {top})")
    # Integer rounding; 2^n_bits - 1 is odd, so there are no ties.
    table = ((np.arange(top + 1) * 255 * 2 + top) // (2 * top)).astype(np.uint8)
    return np.asarray(table[pixels])


def pixels_to_x(pixels: UInt8Array, n_bits: int, *, u: float | npt.NDArray[np.floating] = 0.5) -> Float32Array:
    """N-bit pixels to the model's input, `(p + u) / 2^n_bits`.

    Args:
        pixels: uint8, any shape, 0..2^n_bits-1.
        n_bits: 1..8.
        u: position inside the bin, in [0, 1): 0.5 is the centre; an array of the same shape is dequantisation noise.

    Returns:
        float32, same shape, in [0, 1). Rounding to float32 never moves a value into the next bin.
    """
    _check_n_bits(n_bits)
    _check_uint8(pixels, "pixels")
    scale = np.float32(2.0**-n_bits)
    lower = pixels.astype(np.float32)
    x = (lower + np.asarray(u, dtype=np.float32)) * scale
    if np.ndim(u) or not 0.0 <= float(u) <= 0.99:
        np.minimum(x, np.nextafter((lower + np.float32(1)) * scale, np.float32(0)), out=x)
    return x.astype(np.float32, copy=False)


def values_to_x(values: UInt8Array, n_bits: int) -> Float32Array:
    """8-bit values to `x` at bin centres: `values_to_pixels`, then `pixels_to_x`."""
    return pixels_to_x(values_to_pixels(values, n_bits), n_bits)


def x_to_pixels(x: FloatArray, n_bits: int) -> UInt8Array:
    """Decoded `x` to n-bit pixels, `floor(x * 2^n_bits)` clamped to 0..2^n_bits-1.

    Raises:
        DataError: a value is NaN or infinite; such a decode is not a picture.
    """
    _check_n_bits(n_bits)
    if not np.isfinite(x).all():
        bad = int(x.size - np.isfinite(x).sum())
        raise DataError(f"{bad} of {x.size} decoded values are not finite; they cannot be shown as a picture")
    # Clamped before scaling, so that the largest floats do not overflow.
    pixels: FloatArray = np.floor(np.clip(x, 0.0, 1.0) * 2**n_bits)
    return np.clip(pixels, 0, 2**n_bits - 1).astype(np.uint8)


def x_to_values(x: FloatArray, n_bits: int) -> UInt8Array:
    """Decoded `x` to 8-bit values: `x_to_pixels`, then `pixels_to_values`."""
    return pixels_to_values(x_to_pixels(x, n_bits), n_bits)


def bits_per_dim(log_prob: npt.ArrayLike, *, dims: int, n_bits: int) -> npt.NDArray[np.float64]:
    """Natural log density of `x` in [0, 1)^dims to bits per dimension of the n-bit image.

    `n_bits - log_prob / (dims * ln 2)`, in float64. An upper bound on the discrete code length when `log_prob` is
    averaged over uniform dequantisation noise (Theis et al. 2016, section 3.1).

    Args:
        log_prob: nats, any shape.
        dims: channels * height * width.
        n_bits: 1..8.
    """
    _check_n_bits(n_bits)
    if dims < 1:
        raise UsageError(f"dims must be at least 1, not {dims}")
    nats = np.asarray(log_prob, dtype=np.float64)
    return np.asarray(n_bits - nats / (dims * math.log(2.0)))


def _check_n_bits(n_bits: int) -> None:
    if not 1 <= n_bits <= 8:
        raise UsageError(f"n_bits must be 1 to 8, not {n_bits}")


def _check_uint8(array: npt.NDArray[np.generic], what: str) -> None:
    if array.dtype != np.uint8:
        raise DataError(f"{what} must be uint8, not {array.dtype}")
