from __future__ import annotations

import doctest

from glow_deploy import notebook
from glow_deploy.notebook import html_table


def test_doctests():
    assert doctest.testmod(notebook).failed == 0


def test_long_tables_are_cut_and_say_so():
    table = html_table(("n", "x"), ((row, row / 3) for row in range(25)), most=20)
    assert table.count("<tr>") == 21
    assert "<td>0.333333</td>" in table
    assert table.endswith("<p>... and 5 more</p>")
    assert "more" not in html_table(("n",), [(row,) for row in range(20)])


def test_everything_is_escaped():
    assert "<script" not in html_table(("<script>",), [("<script>alert(1)</script>",)])
    assert "thead" not in html_table((), [("a", 1)])
