from __future__ import annotations

import pytest

from glow_deploy.verify.regression.fields import Fields

VALUES = {
    "text": "two\n words\x1b[2J",
    "count": 3,
    "flag": False,
    "figure": 1,
    "null": None,
    "counts": [1, 0],
    "child": {"x": 1.5},
    "children": [{"x": 1}, {"x": 2}],
}


def test_values_of_the_right_kind_are_given_back():
    fields = Fields(VALUES)
    assert fields.text("text") == "two words?[2J"
    assert fields.count("count", least=3, most=3) == 3
    assert fields.flag("flag") is False
    assert (fields.figure("figure"), fields.figure("null")) == (1.0, None)
    assert isinstance(fields.figure("figure"), float)
    assert fields.counts("counts") == (1, 0)
    assert fields.child("child").figure("x") == 1.5
    assert [child.count("x") for child in fields.children("children")] == [1, 2]
    assert fields.names() == tuple(VALUES)


def test_a_place_is_the_way_there():
    fields = Fields(VALUES)
    assert fields.place("a") == "a"
    assert fields.child("child").place("a") == "child.a"
    assert fields.children("children")[1].place("a") == "children[1].a"


@pytest.mark.parametrize(
    ("take", "value", "message"),
    [
        ("text", 3, r"^m\.x is no text"),
        ("text", "x" * 70_000, r"^m\.x is no text of at most 65,536 characters"),
        ("count", True, r"^m\.x is no whole number from 0 to"),
        ("count", -1, r"^m\.x is no whole number"),
        ("count", 2**53 + 1, r"^m\.x is no whole number"),
        ("count", 1.0, r"^m\.x is no whole number"),
        ("flag", 0, r"^m\.x is neither true nor false"),
        ("figure", "1", r"^m\.x is no number"),
        ("figure", True, r"^m\.x is no number"),
        ("figure", -0.1, r"^m\.x is no finite number >= 0"),
        ("figure", float("inf"), r"^m\.x is no finite number"),
        ("figure", 10**400, r"^m\.x is no finite number"),
        ("counts", [1, True], r"^m\.x is no list of whole numbers"),
        ("counts", 3, r"^m\.x is no list of at most 10,000 entries"),
        ("counts", [0] * 10_001, r"^m\.x is no list of at most"),
        ("child", [], r"^m\.x is no JSON object"),
        ("children", [{}, 3], r"^m\.x\[1\] is no JSON object"),
    ],
)
def test_other_values_are_told_by_their_place(take, value, message):
    fields = Fields({"m": {"x": value}}).child("m")
    with pytest.raises(ValueError, match=message):
        getattr(fields, take)("x")
    with pytest.raises(ValueError, match=r"^m\.gone is missing"):
        getattr(fields, take)("gone")


def test_names_are_printable_and_few():
    with pytest.raises(ValueError, match="the file has an entry without a printable name"):
        Fields({"a\x1b": 1}).names()
    with pytest.raises(ValueError, match="the file has too many entries"):
        Fields({str(number): 0 for number in range(10_001)}).names()
    with pytest.raises(ValueError, match="the file is no JSON object"):
        Fields([])
