from __future__ import annotations

import pytest
from blame import ROLES, assert_named, largest_entry, scaled


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_the_curve_jumps_where_the_weights_are_wrong(case, role, direction):
    step = "level2/step02"
    report = case().change(role, largest_entry(f"{step}/invconv/weight", 1.01)).measure()
    rows = report.backends[0].rows
    jumped = [row for row in rows if row.observed_rms > 100 * row.predicted_rms]
    assert [(row.step, row.direction) for row in jumped] == [(step, direction)]
    other = [row for row in rows if row.direction != direction]
    assert all(row.observed_rms < 1e-4 * row.rms for row in other)


def test_a_wrong_constant_is_no_weight_and_is_found_all_the_same(case):
    report = case().change("decoder", scaled("constants/one", 1.01)).measure()
    assert report.weights == ()
    assert_named(report, "level2/step03", "decode", "undo", "constant")
