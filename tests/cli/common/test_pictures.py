"""Names of the pictures that are written."""

from __future__ import annotations

import time

from glow_cli.common.pictures import file_names


def test_equal_names_are_numbered():
    assert file_names(("a.png", "a.jpg", "b", "A", "a-2", "a")) == [
        "a.png",
        "a-2.png",
        "b.png",
        "A-3.png",
        "a-2-2.png",
        "a-4.png",
    ]


def test_many_equal_names_take_no_time():
    start = time.perf_counter()
    found = file_names(("same",) * 40_000)
    assert time.perf_counter() - start < 5
    assert len(set(found)) == 40_000
    assert found[-1] == "same-40000.png"
