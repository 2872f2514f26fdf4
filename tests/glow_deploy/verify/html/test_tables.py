from __future__ import annotations

import math

import pytest

from glow_deploy.verify.html import tables


def cell(found):
    return found.text, found.kind


def test_words_and_figures():
    assert cell(tables.text(None))[0] == "none"
    assert cell(tables.text(0))[0] == "0"
    assert cell(tables.name("a")) == ("a", "name")
    assert cell(tables.right("1e-6")) == ("1e-6", "number")
    assert cell(tables.muted("x")) == ("x", "muted")
    assert cell(tables.lost_figure("7")) == ("7", "lost")


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((0,), {}, ("0", "number")),
        ((0, 12), {}, ("0 of 12", "number")),
        ((3, 12), {"said": True}, ("3 of 12 not finite", "lost")),
        ((None,), {}, ("not counted", "lost")),
        ((math.nan,), {}, ("not counted", "lost")),
    ],
)
def test_what_was_lost_stands_out_and_no_count_is_a_loss(arguments, options, expected):
    assert cell(tables.lost(*arguments, **options)) == expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("pass", ("pass", "pass")),
        ("reported", ("reported", "muted")),
        ("fail", ("fail", "fail")),
        (None, ("fail", "fail")),
        ("PASS", ("fail", "fail")),
        (True, ("fail", "fail")),
    ],
)
def test_everything_but_pass_and_reported_is_a_failure(verdict, expected):
    assert cell(tables.mark(verdict)) == expected
