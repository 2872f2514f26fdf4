from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.verify.steps.arrays import EDGE, as_matrix, model_order, signed, stored_order, wide


def test_the_stored_order_is_that_of_space_to_depth():
    """A level's first 1x1 meets SpaceToDepth's channels (2i+j)C+c; the model's squeeze gives 4c+2i+j."""
    image = np.arange(2 * 2 * 2).reshape(2, 2, 2)  # C, H, W
    ours = np.array([image[c, i, j] for c in range(2) for i in range(2) for j in range(2)])
    theirs = np.array([image[c, i, j] for i in range(2) for j in range(2) for c in range(2)])
    matrix = np.random.default_rng(0).normal(size=(8, 8))
    assert np.allclose(stored_order(matrix) @ theirs, matrix @ ours)
    assert not np.allclose(matrix @ theirs, matrix @ ours)


@pytest.mark.parametrize("channels", [4, 12])
def test_the_two_orders_undo_each_other(channels):
    matrix = np.random.default_rng(0).normal(size=(3, channels))
    assert np.array_equal(model_order(stored_order(matrix)), matrix)
    assert np.array_equal(stored_order(model_order(matrix)), matrix)


@pytest.mark.parametrize(
    ("part", "shape", "axis"), [("weight", (4, 2, 3, 3), 0), ("bias", (4,), 0), (EDGE, (1, 4, 3, 3), 1)]
)
def test_the_second_half_of_the_outputs_changes_its_sign(part, shape, axis):
    array = np.random.default_rng(0).normal(size=shape)
    before = array.copy()
    flipped = signed(array, flip=True, part=part)
    assert np.array_equal(array, before)
    first, second = np.split(flipped, 2, axis=axis)
    assert np.array_equal(first, np.split(array, 2, axis=axis)[0])
    assert np.array_equal(second, -np.split(array, 2, axis=axis)[1])
    assert signed(array, flip=False, part=part) is array


def test_weights_are_widened():
    weight = np.float16([[[[0.1]], [[2.0]]]])
    assert as_matrix(weight).dtype == wide(weight).dtype == np.float64
    assert as_matrix(weight).tolist() == [[float(np.float16(0.1)), 2.0]]
