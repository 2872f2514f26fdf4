from __future__ import annotations

import math

import pytest

from glow_deploy.verify.html.formats import bound, count, number, of_limit, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.0"),
        (-0.0123, "-0.012"),
        (12345.6, "12,346"),
        (3.21e-7, "3.2e-7"),
        (4e19, "4.0e19"),
        (64, "64"),
        (None, "none"),
        (math.nan, "none"),
        (math.inf, "none"),
        (True, "none"),
        ("7", "none"),
    ],
)
def test_figures(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0457, "4.6 %"),
        (0.258, "25.8 %"),
        (0.0999, "10.0 %"),
        (0.99999, "99.9990 %"),
        (1 - 1e-12, "99.9999 %"),
        (1e-9, "< 0.01 %"),
        (None, "none"),
    ],
)
def test_a_share_is_only_0_or_100_percent_where_it_is(share, text):
    assert percent(share).replace("\u00a0", " ") == text


def test_the_rest():
    assert bound(0.0457).replace("\u00a0", " ") == "< 4.6 %"
    assert bound(1e-9).replace("\u00a0", " ") == "< 0.01 %"
    assert count(49152) == "49,152"
    assert count(None) == "none"
    assert of_limit(3.0) == "3.0 x its limit"
    assert of_limit(math.inf) == "beyond any limit"
