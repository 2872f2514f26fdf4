from __future__ import annotations

import pytest

from glow_deploy.data.fit import Fit
from glow_deploy.errors import DataError


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (Fit(), (3, 4, 6)),
        (Fit(channels=1), (1, 4, 6)),
        (Fit(size=(4, 6)), (3, 4, 6)),
        (Fit(size=(8, 2), channels=1, resize=True), (1, 8, 2)),
    ],
)
def test_images_become_what_the_model_takes(fit, expected):
    assert fit.shape_for((3, 4, 6), name="d") == expected


@pytest.mark.parametrize("size", [(6, 4), (4, 4), (8, 6)])
def test_another_size_is_refused_unless_it_may_be_changed(size):
    message = rf"d: images are 6x4 pixels, the model takes {size[1]}x{size[0]} \(width x height\); pass resize=True"
    with pytest.raises(DataError, match=message):
        Fit(size=size).shape_for((3, 4, 6), name="d")
    assert Fit(size=size, resize=True).shape_for((3, 4, 6), name="d") == (3, *size)
