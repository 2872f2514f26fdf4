from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.numerics import auc as module
from glow_deploy.numerics.auc import auc, auc_interval


def test_the_examples_hold():
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("steps", [3, 10, 10**9])
def test_it_is_the_share_of_pairs_in_order(steps):
    rng = np.random.default_rng(0)
    scores = np.floor(rng.normal(size=80) * steps / 3) / steps  # few steps: many ties
    positive = rng.random(80) < 0.3
    pairs = [np.sign(a - b) / 2 + 0.5 for a in scores[positive] for b in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auc(-scores, positive) == pytest.approx(1 - np.mean(pairs), abs=1e-12)


def test_it_needs_both_kinds_and_finite_scores():
    for positive in (np.zeros(3, bool), np.ones(3, bool)):
        with pytest.raises(DataError, match="with the attribute and images without"):
            auc(np.arange(3.0), positive)
    with pytest.raises(DataError, match="finite"):
        auc(np.array([0.0, np.nan]), np.array([True, False]))


def test_the_interval_holds_what_it_says():
    """Two normal groups a known distance apart, again and again."""
    rng = np.random.default_rng(0)
    for distance in (0.0, 1.2, 3.0):
        truth = 0.5 * (1 + math.erf(distance / 2))
        held = wide = 0
        for _ in range(300):
            scores = np.concatenate([rng.normal(distance, 1, 25), rng.normal(0, 1, 40)])
            value = auc(scores, np.arange(65) < 25)
            low, high = auc_interval(value, positives=25, negatives=40)
            assert 0 <= low <= value <= high <= 1
            held += low <= truth <= high
            wide += high - low > 0.5
        assert 0.92 < held / 300 <= 1
        assert wide == 0


def test_it_narrows_with_more_images_and_never_to_nothing():
    widths = [np.ptp(auc_interval(0.9, positives=n, negatives=n)) for n in (10, 40, 160)]
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]
    # The plain Hanley-McNeil interval has no width at all here.
    assert auc_interval(1.0, positives=5, negatives=5)[0] < 0.8
    assert auc_interval(0.0, positives=5, negatives=5) == (
        0.0,
        pytest.approx(1 - auc_interval(1.0, positives=5, negatives=5)[0], abs=0.05),
    )
