from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from made_scores import REFERENCE, scored, scores

from glow_deploy.errors import DataError
from glow_deploy.scoring import sets as scoring_sets
from glow_deploy.scoring.sets import SetTally, separate


def test_a_tally_of_batches_is_the_whole():
    bits = np.random.default_rng(0).normal(3, 0.5, 50)
    tally = SetTally("s", source="here")
    for first in range(0, 50, 7):
        tally.add(scores(bits[first : first + 7]))
    found = tally.result()
    np.testing.assert_array_equal(found.bits_per_dim, bits)
    np.testing.assert_allclose(found.level_squares, [bits.mean() / 2, bits.mean() / 4])
    figures = found.figures(REFERENCE)
    assert figures["mean"] == pytest.approx(bits.mean())
    assert figures["deviation"] == pytest.approx(bits.std(ddof=1))
    assert figures["median"] == pytest.approx(np.median(bits))
    assert (figures["lowest"], figures["highest"]) == (bits.min(), bits.max())
    assert figures["typicality"] == pytest.approx(np.abs(bits - 3.0).mean())


def test_what_is_not_finite_is_counted_and_kept_out_of_means():
    found = scored("s", [2.0, np.nan, 4.0, np.inf])
    assert (found.nonfinite, len(found)) == (2, 4)
    assert found.figures()["mean"] == 3.0
    np.testing.assert_allclose(found.level_squares, [1.5, 0.75])
    nothing = scored("s", [np.nan, np.nan])
    assert nothing.nonfinite == 2
    assert math.isnan(nothing.figures(REFERENCE)["mean"])
    with pytest.raises(DataError, match="no pictures to score in s"):
        SetTally("s", source="").result()


def test_areas_by_counting_pairs():
    rng = np.random.default_rng(2)
    own, foreign = rng.normal(3, 0.4, 30).round(1), rng.normal(2.6, 0.4, 40).round(1)
    found = separate(scored("own", own), scored("foreign", foreign), REFERENCE)

    def pairs(negatives, positives):
        return np.mean([(p > n) + 0.5 * (p == n) for p in positives for n in negatives])

    assert found.likelihood.value == pytest.approx(pairs(own, foreign))
    assert found.likelihood.value < 0.5
    far_own, far_foreign = (np.abs(bits - 3.0) for bits in (own, foreign))
    assert found.typicality.value == pytest.approx(pairs(far_own, far_foreign))
    assert found.typicality.value > 0.5
    for area in (found.likelihood, found.typicality):
        assert area.low < area.value < area.high


def test_no_likelihood_at_all_is_the_worst():
    found = separate(scored("own", [1.0, 2.0, 900.0]), scored("foreign", [np.nan, np.inf, -np.inf]), REFERENCE)
    assert (found.likelihood.value, found.typicality.value) == (1.0, 1.0)
    found = separate(scored("own", [np.nan, np.inf]), scored("foreign", [3.0, 3.1]))
    assert found.likelihood.value == 0.0
    assert found.typicality is None


def test_doctests():
    found = doctest.testmod(scoring_sets)
    assert (found.failed, found.attempted >= 3) == (0, True)
