from __future__ import annotations

import math

import pytest

from glow_deploy.verify.html.svg import Axis, decade_axis


def test_an_axis_places_decades_evenly_and_keeps_what_lies_outside_at_its_ends():
    axis = Axis(low=-4, high=0, start=100.0, end=20.0)
    assert [axis.at(10.0**e) for e in (-4, -2, 0)] == [100.0, 60.0, 20.0]
    assert axis.at(1e-9) == axis.at(0.0) == 100.0
    assert axis.at(1e9) == 20.0


@pytest.mark.parametrize("most", [3, 5, 6])
@pytest.mark.parametrize(("low", "high"), [(-1, 0), (-7, 3), (-300, 300)])
def test_ticks_are_few_and_hold_one_where_it_is_on_the_axis(low, high, most):
    ticks = Axis(low=low, high=high, start=0.0, end=1.0).ticks(most)
    assert 1 <= len(ticks) <= most
    assert "1" in [label for _, label in ticks]


def test_an_axis_of_nothing_finite_is_still_an_axis():
    for values in ([], [0.0], [math.nan, math.inf], [1.0]):
        axis = decade_axis(values, start=0.0, end=1.0)
        assert axis.high > axis.low
