from __future__ import annotations

import hashlib

import numpy as np
import pytest

from glow_deploy.canary import make_canary


def test_the_operands_are_the_same_everywhere():
    canary = make_canary()
    digest = hashlib.sha256(canary.images.astype("<f4").tobytes())
    for kind in ("1x1", "3x3"):
        digest.update(canary.weights[kind].astype("<f4").tobytes())
    assert digest.hexdigest() == "e417634a1dab51f892faa023a7222272520b908b8894b5b875d020619f9a9c4a"


@pytest.mark.parametrize("seed", [0, 1])
def test_every_mantissa_is_full_and_both_halves_weigh_the_same(seed):
    canary = make_canary(seed=seed)
    for values in (canary.images, *canary.weights.values()):
        assert values.dtype == np.float32
        assert (values.view(np.uint32) & 1).all()
    halves = np.abs(canary.images).reshape(2, 2, 64, -1).mean(axis=(0, 2, 3))
    weights = np.abs(canary.weights["3x3"]).reshape(64, 2, -1).mean(axis=(0, 2))
    assert np.prod([halves, weights], axis=0) == pytest.approx(np.full(2, 1.5**2 * 2.0**-8), rel=0.02)
    assert np.abs(canary.images[:, :64]).max() < 2.0**-14  # below float16's normal numbers
    assert np.abs(canary.weights["1x1"]).max() < 65504


def test_the_batch_is_the_images_over_and_over():
    canary = make_canary()
    assert canary.x.shape == (32, 128, 16, 16)
    np.testing.assert_array_equal(canary.x[6:8], canary.images)
