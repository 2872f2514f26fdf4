"""Options that cannot be are refused when they are given."""

from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.web import WebSettings


@pytest.mark.parametrize(
    "wrong",
    [{"weights": "int8"}, {"draws": 0}, {"golden": -1}, {"seed": 2**53}, {"seed": -1}, {"title": 3}, {"webgpu": 1}],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        WebSettings(**wrong)


def test_the_largest_seed_is_one_that_javascript_counts():
    assert WebSettings(seed=2**53 - 1).seed == 2**53 - 1
