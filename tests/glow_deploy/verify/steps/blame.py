"""Faults to plant in a weight, and what a report must say of a faulty or a sound model."""

from __future__ import annotations

import numpy as np

ROLES = [("encoder", "encode"), ("decoder", "decode")]


def assert_named(report, step, direction, kind, *words):
    assert report.first_jump is not None, "nothing was named"
    first = report.first_jump
    assert (first.step, first.direction, first.kind) == (step, direction, kind), str(first)
    assert first.ratio > first.limit
    assert first.advice
    for word in words:
        assert word in str(first), str(first)


def assert_sound(report, *, spread=3.0):
    assert report.weights == ()
    used = [backend for backend in report.backends if backend.used]
    assert used
    for backend in used:
        assert backend.jumps == (), [str(jump) for jump in backend.jumps]
        for row in backend.rows:
            assert row.non_finite == row.reference_non_finite == 0
            assert row.observed_rms <= spread * row.predicted_rms
            assert row.local_rms <= spread * row.local_predicted


def largest_entry(name, factor):
    def change(found, array):
        if found != name:
            return None
        array[np.unravel_index(np.abs(array).argmax(), array.shape)] *= factor
        return array

    return change


def scaled(name, factor):
    return lambda found, array: array * factor if found == name else None
