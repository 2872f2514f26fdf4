from __future__ import annotations

import math

import numpy as np
import pytest

from glow_deploy.verify.stress.rows import chunks, cycle, image_rms


def test_labels_are_taken_over_and_over():
    labels = np.array([5, 7, 9])
    assert cycle(labels, 7).tolist() == [5, 7, 9, 5, 7, 9, 5]
    assert cycle(labels, 2).tolist() == [5, 7]
    assert cycle(None, 7) is None


@pytest.mark.parametrize(
    ("n", "size", "pieces"), [(7, 3, [(0, 3), (3, 6), (6, 7)]), (6, 3, [(0, 3), (3, 6)]), (2, 5, [(0, 2)]), (0, 5, [])]
)
def test_every_row_is_in_one_chunk(n, size, pieces):
    assert [(part.start, part.stop) for part in chunks(n, size)] == pieces


def test_the_error_of_an_image_is_its_own_and_infinite_where_a_value_is_lost():
    expected = np.zeros((4, 1, 2, 2), np.float32)
    obtained = expected.copy()
    obtained[1] = [[[1, 1], [1, -1]]]
    obtained[2, 0, 0, 0] = 4
    obtained[3, 0, 1, 1] = np.nan
    assert image_rms(obtained, expected).tolist() == [0, 1, 2, math.inf]
    both = np.full((1, 2), np.inf)
    assert image_rms(both, both).tolist() == [math.inf]  # equal infinities are no match


def test_values_near_the_largest_float32_are_compared_in_float64():
    large = np.full((1, 4), 3e38, np.float32)
    assert image_rms(large, -large)[0] == pytest.approx(2 * float(large[0, 0]))
