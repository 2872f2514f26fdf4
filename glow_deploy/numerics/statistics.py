"""What a number of images allows to be said: about "all came back exactly", and about a mean difference."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["CONFIDENCE", "failure_rate_bound", "mean_bound", "most_failures"]

CONFIDENCE = 0.95


def failure_rate_bound(failures: int, n: int, *, confidence: float = CONFIDENCE) -> float:
    """Largest failure rate that is still compatible with `failures` of `n`: the Clopper-Pearson upper bound.

    One-sided: with probability `confidence` the true rate lies below it. For no failure it is `1 - 0.05^(1/n)`, so
    "0 of 299" means "below 1 %". The trials must be independent: count images, never pixels.

    Args:
        failures: observed failures, 0..n.
        n: images looked at, at least 1.
        confidence: in (0, 1).

    Returns:
        A rate in (0, 1].

    Raises:
        ValueError: arguments out of range.
    """
    if n < 1 or not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} trials is impossible")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    alpha = 1.0 - confidence
    if failures == n:
        return 1.0
    if failures == 0:
        return -math.expm1(math.log(alpha) / n)
    low, high = failures / n, 1.0
    # The tail falls monotonically in the rate, so bisection finds the one rate where it equals alpha.
    for _ in range(80):
        middle = 0.5 * (low + high)
        if _binomial_tail(failures, n, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def most_failures(n: int, rate: float, *, confidence: float = CONFIDENCE) -> int:
    """Largest number of failures of n that a rate explains: more of them have a probability of 1 - confidence at most.

    Args:
        n: images looked at, at least 1.
        rate: of failures, in [0, 1].
        confidence: in (0, 1).

    Raises:
        ValueError: arguments out of range.
    """
    if n < 1 or not 0.0 <= rate <= 1.0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"a rate of {rate} of {n} trials at confidence {confidence} is impossible")
    if rate in (0.0, 1.0):
        return n if rate else 0
    low, high = -1, n  # the tail up to `low` is short of the confidence, that up to `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        if _binomial_tail(middle, n, rate) >= confidence:
            high = middle
        else:
            low = middle
    return high


def mean_bound(*, mean: float, rms: float, n: int) -> float:
    """Largest |mean difference| that is still compatible with what was measured, at 95 % confidence a side.

    The two one-sided t tests of an equivalence: the mean lies within a band exactly when this bound does.

    Args:
        mean: of the n paired differences, with its sign.
        rms: of the same differences.
        n: pairs, at least 1; a single one has no spread, and its own size is returned.

    Returns:
        |mean| + t s / sqrt(n), with the 95 % quantile t of Student's distribution and the sample deviation s.
    """
    if n < 1:
        raise ValueError("no differences, no mean")
    if n == 1:
        return abs(mean)
    variance = max(0.0, rms**2 - mean**2) * n / (n - 1)
    return abs(mean) + _student_95(n - 1) * math.sqrt(variance / n)


def _student_95(freedom: int) -> float:
    """95 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else expanded about the normal quantile.

    The expansion in 1/freedom (Abramowitz and Stegun, 26.7.5) is off by less than 0.5 % from 3 degrees on.
    """
    if freedom == 1:
        return math.tan(0.45 * math.pi)
    if freedom == 2:
        return 0.9 * math.sqrt(2.0 / (1.0 - 0.9**2))
    z = 1.6448536269514722
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def _binomial_tail(k: int, n: int, p: float) -> float:
    """P(at most k failures of n), at rate p in (0, 1), summed in the log domain."""
    if p >= 1.0:
        return 1.0 if k == n else 0.0
    i = np.arange(1, k + 1, dtype=np.float64)
    log_ratio = np.log((n - i + 1.0) / i) + math.log(p) - math.log1p(-p)
    log_terms = n * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(log_ratio)))
    top = float(log_terms.max())
    return min(1.0, math.exp(top) * float(np.exp(log_terms - top).sum()))
