from __future__ import annotations

import json
import math

import numpy as np
import pytest

from glow_deploy.numerics.histogram import BINS_PER_DECADE, HIGHEST, LOWEST, ErrorHistogram, bin_edges


def of(errors, *, n_bits=8):
    """Histogram of errors in pixel steps."""
    histogram = ErrorHistogram(n_bits)
    histogram.add(np.asarray(errors, dtype=np.float64) / 2**n_bits, np.zeros(len(errors)))
    return histogram.to_dict()


def total(found):
    return found["below"] + sum(found["counts"]) + found["above"] + found["non_finite"]


def test_edges_run_from_lowest_to_highest_in_equal_ratios():
    edges = bin_edges()
    assert len(edges) == 10 * BINS_PER_DECADE + 1
    assert (edges[0], edges[-1]) == (LOWEST, HIGHEST)
    np.testing.assert_allclose(edges[1:] / edges[:-1], 10 ** (1 / BINS_PER_DECADE), rtol=1e-12)


def test_counts_agree_with_numpy():
    errors = 10.0 ** np.random.default_rng(0).uniform(-9, 5, 10_000)
    found = of(errors)
    expected, _ = np.histogram(errors[errors < HIGHEST], bins=bin_edges())
    assert found["counts"] == expected.tolist()
    assert found["below"] == np.count_nonzero(errors < LOWEST)
    assert found["above"] == np.count_nonzero(errors >= HIGHEST)
    assert total(found) == found["n"] == 10_000


def test_the_unit_is_the_pixel_step_of_the_models_bits():
    five, eight = ErrorHistogram(5), ErrorHistogram(8)
    for histogram in (five, eight):
        histogram.add(np.array([2.0**-6]), np.array([0.0]))
    edges = bin_edges()
    for histogram, steps in ((five, 0.5), (eight, 4.0)):
        (index,) = np.flatnonzero(histogram.to_dict()["counts"])
        assert edges[index] <= steps < edges[index + 1]


def test_zero_lies_below_and_an_edge_belongs_to_the_bin_above_it():
    edges = bin_edges()
    found = of([0.0, edges[8], edges[-1]])
    assert (found["below"], found["above"]) == (1, 1)
    assert found["counts"][8] == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_errors_are_counted_apart(bad):
    found = of([bad, 1.0, bad, 2.0])
    assert (found["n"], found["non_finite"], sum(found["counts"])) == (4, 2, 2)


def test_batches_do_not_matter():
    rng = np.random.default_rng(1)
    x, x_hat = rng.random((12, 3, 4, 4), dtype=np.float32), rng.random((12, 3, 4, 4), dtype=np.float32)
    whole, parts = ErrorHistogram(8), ErrorHistogram(8)
    whole.add(x_hat, x)
    for rows in (slice(0, 5), slice(5, 6), slice(6, 12)):
        parts.add(x_hat[rows], x[rows])
    assert whole.to_dict() == parts.to_dict()


def test_nothing_added_is_an_empty_histogram_and_the_table_is_plain_json():
    found = ErrorHistogram(8).to_dict()
    assert found["n"] == total(found) == 0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="cannot compare"):
        ErrorHistogram(8).add(np.zeros((2, 3)), np.zeros((1, 3)))
