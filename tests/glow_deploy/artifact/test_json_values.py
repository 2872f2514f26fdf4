from __future__ import annotations

import math

import pytest

from glow_deploy.artifact import json_values

VALUES = {
    "count": 3,
    "zero": 0,
    "flag": True,
    "text": "t",
    "float": 2.5,
    "null": None,
    "huge": 10**400,
    "negative": -1,
}


def test_values_of_the_right_kind_are_given_back():
    assert json_values.table(VALUES, "m") is VALUES
    assert json_values.entry(VALUES, "null", where="m") is None
    assert json_values.count(VALUES, "zero", where="m") == 0
    assert json_values.flag(VALUES, "flag", where="m") is True
    assert json_values.text(VALUES, "text", where="m") == "t"
    assert json_values.sequence([1], "m") == [1]
    assert json_values.number_or_null(VALUES, "negative", where="m") == -1
    assert math.isnan(json_values.number_or_null(VALUES, "null", where="m"))
    assert json_values.number_or_null(VALUES, "null", where="m", null=math.inf) == math.inf
    assert json_values.numbers_or_null(VALUES, ["float", "zero"], where="m") == {"float": 2.5, "zero": 0}


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda: json_values.table([], "m.a"), "m.a is missing or not an object"),
        (lambda: json_values.entry(VALUES, "gone", where="m"), "m.gone is missing"),
        (lambda: json_values.sequence("text", "m"), "m is missing or not a list"),
        (lambda: json_values.count(VALUES, "flag", where="m"), "m.flag is 'True'; it must be a whole number from 0"),
        (
            lambda: json_values.count(VALUES, "zero", where="m", least=1),
            "m.zero is '0'; it must be a whole number from 1",
        ),
        (lambda: json_values.count(VALUES, "float", where="m"), "m.float is '2.5'"),
        (lambda: json_values.count({"n": 10**9 + 1}, "n", where="m"), "from 0 to 1000000000"),
        (lambda: json_values.flag(VALUES, "count", where="m"), "m.count is '3'; it must be true or false"),
        (lambda: json_values.text(VALUES, "count", where="m"), "m.count is '3'; it must be a string"),
        (lambda: json_values.number_or_null(VALUES, "flag", where="m"), "m.flag is 'True'; it must be a number"),
        (lambda: json_values.number_or_null({"x": math.nan}, "x", where="m"), "m.x is 'nan'"),
        (lambda: json_values.number_or_null({"x": math.inf}, "x", where="m"), "m.x is 'inf'"),
        (
            lambda: json_values.numbers_or_null(VALUES, ["negative"], where="m"),
            "'-1'; it must be a number of at least zero",
        ),
    ],
)
def test_other_values_are_told_by_their_place(take, message):
    with pytest.raises(ValueError, match=message):
        take()


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match="must be a number") as caught:
        json_values.number_or_null(VALUES, "huge", where="m")
    assert len(str(caught.value)) < 80


def test_what_json_has_no_number_for_is_null():
    assert [json_values.json_number(value) for value in (1.5, math.inf, -math.inf, math.nan)] == [1.5, None, None, None]
