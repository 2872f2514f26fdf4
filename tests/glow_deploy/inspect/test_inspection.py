from __future__ import annotations

from glow_deploy.inspect.inspection import Inspection


def test_what_was_found_is_one_short_line_in_a_session():
    found = Inspection(kind="plan", path="a/e.trt", facts={"size": 3, "sha256": "1" * 64}, tables={"files": [{}] * 9})
    assert repr(found) == "Inspection(plan 'a/e.trt', 2 facts, 1 tables)"
    assert Inspection(kind="npz", path="x", facts={}).tables == {}
