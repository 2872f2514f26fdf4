from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import (
    bits_per_dim,
    pixels_to_values,
    pixels_to_x,
    values_to_pixels,
    values_to_x,
    x_to_pixels,
    x_to_values,
)

ALL_BITS = range(1, 9)


@pytest.mark.parametrize("n_bits", ALL_BITS)
def test_pixels_survive_values_and_x(n_bits):
    pixels = np.arange(2**n_bits, dtype=np.uint8)
    values = pixels_to_values(pixels, n_bits)
    assert values[0] == 0
    assert values[-1] == 255
    assert values.tolist() == [round(int(p) * 255 / (2**n_bits - 1)) for p in pixels]
    np.testing.assert_array_equal(values_to_pixels(values, n_bits), pixels)
    np.testing.assert_array_equal(x_to_pixels(pixels_to_x(pixels, n_bits), n_bits), pixels)


@pytest.mark.parametrize("n_bits", ALL_BITS)
def test_noise_never_reaches_the_next_bin(n_bits):
    pixels = np.arange(2**n_bits, dtype=np.uint8)
    below_one = np.full(pixels.shape, np.nextafter(1.0, 0.0))
    x = pixels_to_x(pixels, n_bits, u=below_one)
    assert x.dtype == np.float32
    assert x.max() < 1.0
    np.testing.assert_array_equal(x_to_pixels(x, n_bits), pixels)
    # Control: the plain formula does leave the bin, in float32.
    plain = (pixels.astype(np.float32) + below_one.astype(np.float32)) * np.float32(2.0**-n_bits)
    assert (np.floor(plain * 2**n_bits) != pixels).any()


def test_bin_centres():
    np.testing.assert_array_equal(
        values_to_x(np.array([0, 7, 8, 255], np.uint8), 5), np.float32([0.5 / 32, 0.5 / 32, 1.5 / 32, 31.5 / 32])
    )


@settings(max_examples=60, deadline=None)
@given(st.floats(-3.0, 3.0, width=32), st.integers(1, 8))
def test_x_to_pixels_is_the_clamped_floor(x, n_bits):
    expected = min(max(math.floor(x * 2**n_bits), 0), 2**n_bits - 1)
    assert x_to_pixels(np.array([x], np.float32), n_bits)[0] == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_x_is_no_picture(bad):
    with pytest.raises(DataError, match="1 of 3 decoded values are not finite"):
        x_to_values(np.array([0.5, bad, 0.1], np.float32), 8)
    assert x_to_pixels(np.array([3e38, -3e38], np.float32), 8).tolist() == [255, 0]


def test_wrong_pixels_are_refused():
    with pytest.raises(DataError, match="pixel value 32 does not fit in 5 bits"):
        pixels_to_values(np.array([32], np.uint8), 5)
    with pytest.raises(DataError, match="must be uint8"):
        values_to_pixels(np.zeros(3, np.int64), 5)
    with pytest.raises(UsageError, match="n_bits must be 1 to 8"):
        values_to_pixels(np.zeros(3, np.uint8), 9)


def test_bits_per_dim():
    # The uniform density on [0,1)^D codes n bits a dimension.
    np.testing.assert_array_equal(bits_per_dim([0.0], dims=12, n_bits=5), [5.0])
    value = bits_per_dim(np.float32([12 * math.log(2) * 3]), dims=12, n_bits=5)
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, [2.0], rtol=1e-7)
