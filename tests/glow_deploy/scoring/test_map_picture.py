from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.scoring.map_picture import map_picture
from glow_deploy.scoring.threshold import SurpriseMaps


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_stands_beside_its_maps_with_the_strange_framed(channels):
    flat = np.zeros((2, 8, 12))
    spot = flat.copy()
    spot[1, 2:4, 4:6] = 10
    maps = SurpriseMaps(latents=flat, patches=spot, both=spot / 2)
    values = np.full((channels, 8, 12), 100, np.uint8)
    drawn, calm = (map_picture(values, maps, index, threshold=4.0) for index in (1, 0))
    assert drawn.shape == (3, 8 * 16 + 8, 4 * 12 * 16 + 5 * 4)
    red = (drawn[0] == 255) & (drawn[1] == 64)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max() + 1) == (4 + 2 * 16, 4 + 4 * 16)
    assert (columns.min(), columns.max() + 1) == (4 + 4 * 16, 4 + 6 * 16)
    assert not ((calm[0] == 255) & (calm[1] == 64)).any()
    patches = drawn[:, 4:-4, 4 + 2 * (12 * 16 + 4) :][:, :, : 12 * 16]
    assert patches[0, 3 * 16, 5 * 16] == 255
    assert patches[0, 0, 0] == 0
