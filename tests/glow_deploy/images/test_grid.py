from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import (
    grid,
)


def test_grid_places_every_picture():
    values = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 6), np.uint8)
    out = grid(values, columns=3, scale=2, padding=1, background=99)
    assert out.shape == (3, 2 * 9 + 1, 3 * 13 + 1)
    for index in range(5):
        top, left = 1 + index // 3 * 9, 1 + index % 3 * 13
        assert (out[:, top : top + 8, left : left + 12] == index).all()
    assert (out[:, 10:18, 27:39] == 99).all()
    assert (out[:, 0] == 99).all()


def test_grid_makes_small_pictures_visible():
    assert grid(np.zeros((4, 1, 16, 16), np.uint8), padding=0).shape == (1, 128, 128)
    assert grid(np.zeros((1, 1, 30, 60), np.uint8), padding=0).shape == (1, 60, 120)
    assert grid(np.zeros((1, 1, 300, 200), np.uint8), padding=0).shape == (1, 300, 200)
    with pytest.raises(DataError, match=r"\[N,C,H,W\]"):
        grid(np.zeros((4, 16, 16), np.uint8))
    with pytest.raises(UsageError, match="columns"):
        grid(np.zeros((4, 1, 4, 4), np.uint8), columns=0)
