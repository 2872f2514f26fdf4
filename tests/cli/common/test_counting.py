from __future__ import annotations

import pytest
from glow_cli.common.counting import counted


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 pictures"), (1, "1 picture"), (2, "2 pictures"), (-1, "-1 pictures"), (1234567, "1,234,567 pictures")],
)
def test_one_is_singular_and_thousands_are_parted(number, words):
    assert counted(number, "picture") == words
