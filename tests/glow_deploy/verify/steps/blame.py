"""What a report names first."""

from __future__ import annotations


def assert_named(report, step, direction, kind, *words):
    assert report.first_jump is not None, "nothing was named"
    first = report.first_jump
    assert (first.step, first.direction, first.kind) == (step, direction, kind), str(first)
    assert first.ratio > first.limit
    assert first.advice
    for word in words:
        assert word in str(first), str(first)
