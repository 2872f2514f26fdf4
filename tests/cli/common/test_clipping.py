from __future__ import annotations

import numpy as np
import pytest
from glow_cli.common.clipping import clipped_line


def test_only_the_pictures_that_leave_the_range_count():
    line = clipped_line(np.array([0.0, 0.1, 0.3]), np.array([0.0, 2.5, 1.0]))
    assert line == (
        "clipped: 2 of 3 pictures leave the range of pixels, in 20.0% of their values, by up to 2.5 pixel steps"
    )


@pytest.mark.parametrize("count", [0, 3])
def test_where_nothing_was_cut_off_nothing_is_said(count):
    assert clipped_line(np.zeros(count), np.zeros(count)) is None
