from __future__ import annotations

import json
import math

import numpy as np
import pytest

from glow_deploy.numerics.measures import ErrorAccumulator, ExactnessAccumulator, half_bin, summarize


def noise(shape, *, seed=0, scale=1e-5):
    return np.random.default_rng(seed).standard_t(3, shape) * scale


def test_figures_agree_with_numpy():
    want = noise((50, 3, 8, 8), seed=1, scale=1.0)
    error = noise((50, 3, 8, 8))
    found = summarize(want + error, want)
    error = (want + error) - want
    assert found.n == error.size
    assert found.non_finite == 0
    assert found.rms == pytest.approx(math.sqrt((error**2).mean()), rel=1e-12)
    assert found.mean == pytest.approx(error.mean(), rel=1e-9)
    assert found.max == np.abs(error).max()
    assert found.scale == pytest.approx(math.sqrt((want**2).mean()), rel=1e-12)
    assert np.abs(error)[found.worst] == found.max


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 1e9])
def test_the_quantile_is_at_most_0_8_percent_above_the_true_one(scale):
    error = noise((400, 100), scale=scale)
    true = np.quantile(np.abs(error), 0.999, method="inverted_cdf")
    assert true <= summarize(error, np.zeros_like(error)).p999 <= 1.008 * true


def test_of_few_values_the_quantile_is_the_maximum():
    error = noise((10, 10))
    found = summarize(error, np.zeros_like(error))
    assert found.p999 == found.max == np.abs(error).max()


@pytest.mark.parametrize("sizes", [[64], [1] * 64, [30, 3, 31]])
def test_batches_do_not_matter(sizes):
    want, got = noise((64, 7), seed=2), noise((64, 7), seed=3)
    accumulator, first = ErrorAccumulator(), 0
    for size in sizes:
        accumulator.add(got[first : first + size], want[first : first + size], first=first)
        first += size
    whole, parts = summarize(got, want), accumulator.summary()
    assert parts.worst == whole.worst
    assert (parts.n, parts.max, parts.p999) == (whole.n, whole.max, whole.p999)
    assert parts.rms == pytest.approx(whole.rms, rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_values_are_counted_first_and_left_out_of_the_rest(bad):
    want = np.zeros((4, 5))
    got = np.full((4, 5), 1e-3)
    got[2, 3] = bad
    found = summarize(got, want)
    assert found.non_finite == 1
    assert not found.finite
    assert found.worst == (2, 3)
    assert found.rms == pytest.approx(1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_equal_non_finite_values_are_no_match(bad):
    found = summarize(np.full((2, 3), bad), np.full((2, 3), bad))
    assert found.non_finite == 6
    assert math.isnan(found.rms)


def test_nothing_compared_is_not_finite():
    assert not ErrorAccumulator().summary().finite


def test_a_missing_row_is_no_broadcast():
    with pytest.raises(ValueError, match="cannot compare"):
        summarize(np.zeros((3, 2)), np.zeros((1, 2)))


def test_the_slope_shows_what_became_of_a_value():
    z = noise((100, 20), scale=1.0)
    assert summarize(z, z).slope == pytest.approx(1.0)
    assert summarize(0.7 * z, z).slope == pytest.approx(0.7)
    assert summarize(np.zeros_like(z), z).slope == 0.0


def test_float32_is_compared_in_float64():
    want = np.array([[1.0]])
    assert summarize(np.array([[np.float32(1.0) + np.float32(2**-23)]]), want).max == 2**-23


def test_json_has_no_nan():
    table = summarize(np.full((1, 2), math.nan), np.zeros((1, 2))).to_dict(unit="x")
    assert table["rms"] is None
    assert table["non_finite"] == 2
    json.dumps(table, allow_nan=False)


def count(x_hat, x, *, n_bits):
    accumulator = ExactnessAccumulator(n_bits)
    accumulator.add(x_hat, x, first=10)
    return accumulator.summary()


@pytest.mark.parametrize("n_bits", [1, 5, 8])
def test_a_pixel_is_exact_strictly_within_half_a_bin(n_bits):
    x = np.full((3, 1, 2, 2), 0.5 + 2.0 ** -(n_bits + 1))
    inside, edge = x.copy(), x.copy()
    inside[1, 0, 0, 0] += half_bin(n_bits) * 0.999
    edge[1, 0, 0, 0] += half_bin(n_bits)
    assert count(inside, x, n_bits=n_bits).images_exact == 3
    found = count(edge, x, n_bits=n_bits)
    assert (found.images, found.images_exact, found.pixels, found.pixels_exact) == (3, 2, 12, 11)
    assert found.worst_image == 11
    assert found.bound == pytest.approx(0.8646, abs=1e-4)


def test_a_nan_pixel_is_never_exact():
    x = np.full((2, 1, 1, 1), 0.5)
    bad = x.copy()
    bad[0] = math.nan
    assert count(bad, x, n_bits=8).images_exact == 1


def test_a_rate_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        ExactnessAccumulator(8).summary()
