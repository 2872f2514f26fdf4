from __future__ import annotations

import copy
import math

import pytest

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


def test_what_is_written_is_read_back():
    yardstick = Yardstick.from_manifest(VALUES, levels=2)
    again = Yardstick.from_manifest(yardstick.to_dict(), levels=2)
    assert again == yardstick
    assert yardstick.z[1].p999 == 4e-6
    assert "64 golden images" in yardstick.source


def without(*path):
    values = copy.deepcopy(VALUES)
    table = values
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    return values


@pytest.mark.parametrize(
    "path", [("n",), ("x_hat",), ("z",), ("z", "z2"), ("z", "z2", "rms"), ("bits_per_dim", "p999"), ("zxz", "z1")]
)
def test_a_missing_figure_is_an_error(path):
    with pytest.raises(BundleError, match=path[-1]):
        Yardstick.from_manifest(without(*path), levels=2)


@pytest.mark.parametrize("bad", [None, -1e-9, math.nan, math.inf, "1e-6", True])
def test_a_figure_that_is_no_size_is_an_error(bad):
    with pytest.raises(BundleError, match=r"x_hat\.rms"):
        Yardstick.from_manifest({**VALUES, "x_hat": {**FIGURES, "rms": bad}}, levels=2)


@pytest.mark.parametrize("bad", [None, [], "yardstick", 3])
def test_no_yardstick_is_an_error(bad):
    with pytest.raises(BundleError, match="yardstick"):
        Yardstick.from_manifest(bad, levels=2)
