from __future__ import annotations

import math

import numpy as np
import pytest
from linear_flow import DIMS, IMAGE, SHAPES, flat

from glow_deploy.errors import UsageError
from glow_deploy.latents import (
    SampleSettings,
    dequantisation,
    noise,
)

PINNED = [0.3051562, 0.8958744, 0.4175329, -1.3096249, 0.9269998, 0.5844585]


def test_noise_is_the_same_in_every_release_of_numpy():
    z1, z2 = noise(7, [0, 5], SHAPES)
    assert z1.dtype == z2.dtype == np.float32
    assert z1.shape == (2, 2, 2, 2)
    assert z2.shape == (2, 4, 1, 1)
    np.testing.assert_array_equal(z1[1, 0, 0], np.float32(PINNED[:2]))
    np.testing.assert_array_equal(z2[1, :2, 0, 0], np.float32(PINNED[2:4]))
    np.testing.assert_array_equal(dequantisation(7, [5], (2,))[0], np.float32(PINNED[4:]))


def test_noise_depends_on_seed_and_index_alone():
    whole = flat(noise(1, np.arange(20), SHAPES))
    for start, stop in [(0, 3), (3, 4), (4, 20)]:
        np.testing.assert_array_equal(flat(noise(1, np.arange(start, stop), SHAPES)), whole[start:stop])
    rows = np.concatenate(
        [
            whole,
            flat(noise(2, np.arange(20), SHAPES)),
            flat(noise(1, np.arange(20), SHAPES, attempt=1)),
            flat(noise(2**64 - 1, np.arange(20), SHAPES)),
        ]
    )
    assert len(np.unique(rows, axis=0)) == 80
    assert np.unique(rows).size > 0.999 * rows.size


def test_noise_is_standard_normal_and_uniform():
    z = flat(noise(0, np.arange(4000), SHAPES)).astype(float)
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size)
    covariance = np.cov(z.T) - np.eye(DIMS)
    assert np.abs(covariance).max() < 5 / math.sqrt(len(z))
    u = dequantisation(0, np.arange(4000), IMAGE)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * u.size)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed):
    with pytest.raises(UsageError, match=r"seed must be a whole number from 0 to 2\^64-1"):
        noise(seed, [0], SHAPES)
    with pytest.raises(UsageError, match="seed"):
        SampleSettings(seed=seed)
