from __future__ import annotations

import numpy as np
import pytest
from spoiled_engines import GREY, grey, pair

from glow_deploy.directions.reach import measure_reach
from glow_deploy.directions.soundness import Soundness
from glow_deploy.engines.example import example_pair
from glow_deploy.latents import encode_images

STEP = [np.full((2, 1, 1), 4.0)] * 2  # of z = 4 (x - 0.5): x moves by 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("edge", [0.4, 1.9, 2.99])
def test_the_range_ends_where_decodes_break(edge, sign):
    latents = grey(10)
    start = float(latents.z[0].max())

    def spoil(feeds, out):
        out["x"][sign * (feeds["z1"].max(axis=(1, 2, 3)) - start) > 4 * edge] = np.nan

    step = [sign * level for level in STEP]
    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    found = measure_reach(*pair(decoded=spoil), latents, step, **options)
    assert edge - 3 / 6 / 2**4 <= found.amount <= edge
    assert (found.median, found.images) == (found.amount, 10)
    # Control: what never breaks reaches the limit.
    assert measure_reach(*pair(), latents, step, **options).amount == 3


def test_a_hole_on_the_way_ends_the_range():
    latents = grey(4)

    def spoil(feeds, out):
        moved = feeds["z1"].max(axis=(1, 2, 3)) - float(latents.z[0].max())
        out["x"][(moved > 4 * 0.9) & (moved < 4 * 1.1)] = np.inf

    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    assert 0.85 < measure_reach(*pair(decoded=spoil), latents, STEP, **options).amount <= 0.9


@pytest.mark.parametrize(
    ("count", "survival", "lost"), [(40, 0.95, 2), (39, 0.95, 1), (10, 0.95, 0), (10, 0.5, 5), (3, 1.0, 0)]
)
def test_no_more_images_are_lost_than_allowed(count, survival, lost):
    """Image i breaks at i + 1 tenths of the limit."""
    encoder = example_pair(size=(2, 2))[0]
    latents = encode_images(encoder, np.full((count, 1, 2, 2), GREY, np.uint8))
    z2 = latents.z[1]
    z2[:, 1] += 0.001 * np.arange(count)[:, None, None]  # tells the images apart

    def spoil(feeds, out):
        number = np.rint((feeds["z2"][:, 1, 0, 0] - feeds["z2"][:, 0, 0, 0]) / 0.001)
        moved = (feeds["z1"][:, 0, 0, 0] - latents.z[0][0, 0, 0, 0]) / 4
        out["x"][moved > 3 * (number + 1) / (count + 1)] = np.nan

    found = measure_reach(
        *pair(decoded=spoil), latents, STEP, limit=3.0, survival=survival, soundness=Soundness(margin=100)
    )
    edge = 3 * (lost + 1) / (count + 1)
    assert edge - 3 / 6 / 2**4 <= found.amount <= edge + 1e-9
    assert found.median >= found.amount


def test_each_image_is_held_to_its_own_limit():
    """A model that is 0.05 coarse everywhere passes; one that gets coarse on the way does not."""

    def coarse(feeds, out):
        out["z1"] += 0.05

    def worse(feeds, out):
        out["z1"] += np.where(np.abs(out["z1"]) > 4, 0.3, 0.05).astype(np.float32)

    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    assert measure_reach(*pair(encoded=coarse), grey(4), STEP, **options).amount == 3
    assert measure_reach(*pair(encoded=worse), grey(4), STEP, **options).amount < 1
