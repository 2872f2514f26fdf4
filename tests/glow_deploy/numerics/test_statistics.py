from __future__ import annotations

import math

import pytest

from glow_deploy.numerics.statistics import failure_rate_bound, mean_bound, most_failures


@pytest.mark.parametrize(("n", "bound"), [(100, 0.0295), (299, 0.01), (1000, 0.0030), (2995, 0.001)])
def test_no_failure_gives_the_rule_of_three(n, bound):
    assert failure_rate_bound(0, n) == pytest.approx(bound, abs=6e-5)
    assert failure_rate_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-12)


# scipy.stats.beta.ppf(0.95, k + 1, n - k)
CLOPPER_PEARSON = [
    (1, 2, 0.9746794344808963),
    (1, 100, 0.046559811453538935),
    (5, 20, 0.4555824040017489),
    (19, 20, 0.9974386212234697),
    (3, 10000, 0.0007751813790100997),
    (700, 10000, 0.07434028178966208),
    (9999, 10000, 0.9999948706837163),
]


@pytest.mark.parametrize(("k", "n", "bound"), CLOPPER_PEARSON)
def test_failures_give_the_clopper_pearson_bound(k, n, bound):
    assert failure_rate_bound(k, n) == pytest.approx(bound, rel=1e-9)


def test_all_failures_leave_nothing_to_bound():
    assert failure_rate_bound(7, 7) == 1.0


def test_the_bound_grows_with_failures_and_shrinks_with_trials():
    assert failure_rate_bound(0, 100) < failure_rate_bound(1, 100) < failure_rate_bound(50, 100)
    assert failure_rate_bound(1, 1000) < failure_rate_bound(1, 100)


def test_a_higher_confidence_needs_a_wider_bound():
    assert failure_rate_bound(3, 50, confidence=0.99) > failure_rate_bound(3, 50)
    assert failure_rate_bound(0, 50, confidence=0.99) == pytest.approx(1 - math.exp(math.log(0.01) / 50))


@pytest.mark.parametrize(
    ("k", "n", "confidence"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(ValueError, match=r"impossible|confidence"):
        failure_rate_bound(k, n, confidence=confidence)


# scipy.stats.t.ppf(0.95, n - 1)
STUDENT = [(2, 6.313751514675043), (3, 2.919985580353726), (4, 2.3533634348018264), (6, 2.015048372669157)]
STUDENT += [(11, 1.8124611228107335), (31, 1.697260886593957), (1001, 1.6463788172854639)]


@pytest.mark.parametrize(("n", "quantile"), STUDENT)
def test_a_mean_is_bounded_by_students_distribution(n, quantile):
    spread = 2.0  # of the sample: with mean 0, rms^2 = spread^2 (n - 1) / n
    bound = mean_bound(mean=0.0, rms=spread * math.sqrt((n - 1) / n), n=n)
    assert bound == pytest.approx(quantile * spread / math.sqrt(n), rel=5e-3)


def test_the_bound_of_a_mean_holds_its_size_and_shrinks_with_trials():
    assert mean_bound(mean=-0.5, rms=0.5, n=10) == pytest.approx(0.5)
    assert mean_bound(mean=-0.5, rms=0.7, n=10) > mean_bound(mean=-0.5, rms=0.7, n=1000) > 0.5
    assert mean_bound(mean=-0.5, rms=0.5, n=1) == 0.5
    with pytest.raises(ValueError, match="no mean"):
        mean_bound(mean=0.0, rms=0.0, n=0)


@pytest.mark.parametrize(("n", "rate", "most"), [(60, 0.0117, 2), (1, 0.01, 0), (4000, 0.0, 0), (10, 1.0, 10)])
def test_the_most_failures_that_a_rate_explains(n, rate, most):
    assert most_failures(n, rate) == most


def test_one_more_failure_is_improbable():
    from math import comb

    for n, rate in ((300, 0.0117), (50, 0.2), (20, 0.5)):
        most = most_failures(n, rate)

        def more(k, n=n, rate=rate):
            return sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k + 1, n + 1))

        assert more(most) <= 0.05 < more(most - 1)


@pytest.mark.parametrize(("n", "rate"), [(0, 0.1), (5, -0.1), (5, 1.1)])
def test_impossible_rates_are_refused(n, rate):
    with pytest.raises(ValueError, match="impossible"):
        most_failures(n, rate)
