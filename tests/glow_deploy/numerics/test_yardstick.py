from __future__ import annotations

import math

import pytest

from glow_deploy.artifact.figures import ErrorFigures
from glow_deploy.errors import BundleError
from glow_deploy.numerics.yardstick import Yardstick

FIGURES = {"rms": 1e-6, "p999": 4e-6, "max": 9e-6}
VALUES = {
    "n": 64,
    "x_hat": FIGURES,
    "z": {"z1": FIGURES, "z2": FIGURES},
    "bits_per_dim": FIGURES,
    "zxz": {"z1": FIGURES, "z2": FIGURES},
}


def figures(**values):
    return ErrorFigures.from_dict({**VALUES, **values}, levels=2, where="yardstick")


def test_what_the_manifest_holds_becomes_a_yardstick_that_says_where_it_is_from():
    yardstick = Yardstick.stored(figures(non_finite=3))
    assert yardstick.z[1].p999 == 4e-6
    assert yardstick.n == 64
    assert "64 golden images" in yardstick.source
    assert yardstick.non_finite == 0  # it was lost in other images
    assert yardstick.to_dict() == {"source": yardstick.source, **figures().to_dict()}


@pytest.mark.parametrize("name", ["x_hat", "bits_per_dim", "x_from_z"])
@pytest.mark.parametrize("statistic", ["rms", "p999", "max"])
def test_a_figure_that_is_not_finite_is_never_a_pass(name, statistic):
    with pytest.raises(BundleError, match=rf"numerics\.yardstick\.{name}\.{statistic} is nan"):
        Yardstick.stored(figures(**{name: {**FIGURES, statistic: None}}))


@pytest.mark.parametrize("name", ["z", "zxz"])
def test_nor_is_one_of_a_level(name):
    with pytest.raises(BundleError, match=rf"numerics\.yardstick\.{name}\.z2\.max is nan"):
        Yardstick.stored(figures(**{name: {"z1": FIGURES, "z2": {**FIGURES, "max": None}}}))


def test_graphs_in_sixteen_bit_have_a_bound_of_their_own():
    large = figures(x_hat={**FIGURES, "max": 2e6})
    assert Yardstick.stored(large).x_hat.max == 2e6
    with pytest.raises(BundleError, match=r"numerics\.precision\.figures\.x_hat\.max is 2e\+06"):
        Yardstick.stored(large, where="precision.figures")


def test_a_missing_yardstick_excuses_no_error():
    missing = Yardstick.missing(levels=2)
    assert math.isnan(missing.x_hat.max)
    assert len(missing.z) == len(missing.zxz) == 2
    assert missing.non_finite == 1
