"""Exact binomial statements about "all images came back exactly"."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["CONFIDENCE", "failure_rate_bound"]

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


def _binomial_tail(k: int, n: int, p: float) -> float:
    """P(at most k failures of n), at rate p in (0, 1), summed in the log domain."""
    if p >= 1.0:
        return 1.0 if k == n else 0.0
    i = np.arange(1, k + 1, dtype=np.float64)
    log_ratio = np.log((n - i + 1.0) / i) + math.log(p) - math.log1p(-p)
    log_terms = n * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(log_ratio)))
    top = float(log_terms.max())
    return min(1.0, math.exp(top) * float(np.exp(log_terms - top).sum()))
