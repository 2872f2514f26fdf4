from __future__ import annotations

import json
import math

import pytest

from glow_deploy.artifact.figures import ErrorFigures, Figures

FIGURES = {"rms": 1e-6, "p999": 4e-6, "max": 9e-6}
VALUES = {
    "n": 64,
    "non_finite": 0,
    "x_hat": FIGURES,
    "z": {"z1": FIGURES, "z2": FIGURES},
    "bits_per_dim": FIGURES,
    "zxz": {"z1": FIGURES, "z2": FIGURES},
}


def read(values, levels=2):
    return ErrorFigures.from_dict(values, levels=levels, where="yardstick")


@pytest.mark.parametrize("more", [{}, {"x_from_z": {**FIGURES, "max": None}}, {"non_finite": 7}])
def test_what_is_written_is_read_back(more):
    values = {**VALUES, **more}
    assert json.loads(json.dumps(read(values).to_dict())) == values


def test_null_is_what_was_not_finite():
    found = Figures.from_dict({**FIGURES, "max": None}, where="x")
    assert math.isnan(found.max)
    assert not found.finite
    assert Figures(rms=1.0, p999=math.inf, max=math.nan).to_dict() == {"rms": 1.0, "p999": None, "max": None}


def test_the_decoder_alone_is_judged_by_its_own_errors_where_they_are_known():
    assert read(VALUES).decoded == read(VALUES).x_hat
    assert read({**VALUES, "x_from_z": {**FIGURES, "max": 1.0}}).decoded.max == 1.0


def without(*path):
    values = json.loads(json.dumps(VALUES))
    table = values
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    return values


@pytest.mark.parametrize(
    "path", [("n",), ("x_hat",), ("z",), ("z", "z2"), ("z", "z2", "rms"), ("bits_per_dim", "p999"), ("zxz", "z1")]
)
def test_a_missing_figure_is_told_by_its_place(path):
    place = r"yardstick\." + r"\.".join(path)
    with pytest.raises(ValueError, match=f"{place} is missing"):
        read(without(*path))


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, "1e-6", True, 10**400, [], {}])
def test_a_figure_that_is_no_size_is_refused(bad):
    with pytest.raises(ValueError, match=r"yardstick\.x_hat\.rms is"):
        read({**VALUES, "x_hat": {**FIGURES, "rms": bad}})


@pytest.mark.parametrize("bad", [0, -1, 1.5, "64", True, None, 10**10])
def test_a_count_that_counts_no_images_is_refused(bad):
    with pytest.raises(ValueError, match=r"yardstick\.n is"):
        read({**VALUES, "n": bad})


@pytest.mark.parametrize("bad", [None, [], "yardstick", 3])
def test_no_table_is_refused(bad):
    with pytest.raises(ValueError, match="yardstick is missing or not an object"):
        read(bad)
