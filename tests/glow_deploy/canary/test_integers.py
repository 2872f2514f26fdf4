from __future__ import annotations

import hashlib

import numpy as np

from glow_deploy.canary.integers import CHANNELS, PROBES, make_integers


def test_operands_are_the_integers_that_are_documented():
    canary = make_integers()
    assert (canary.images.min(), canary.images.max()) == (128, 255)
    for name, size in PROBES.items():
        weight = canary.weights[name]
        assert weight.shape == (32, CHANNELS, size, size)
        assert (weight == np.rint(weight)).all()
        assert (canary.results[name] == canary.results[name].astype(np.float32)).all()
    for name in ("1x1", "3x3"):
        # No partial sum reaches 2^24, whatever the order.
        assert np.abs(canary.weights[name]).sum(axis=(1, 2, 3)).max() * 255 < 2**24
        large, small = np.split(canary.results[name], 2, axis=1)
        assert large.max() > 2**23
        assert small.min() > 2048
        assert small.max() < 65504
    wide = canary.weights["wide"].sum(axis=(1, 2, 3))
    assert (np.count_nonzero(canary.weights["wide"], axis=(1, 2, 3)) == 1).all()
    assert wide[:16].max() < 65504 < wide[16:].min()


def test_they_are_the_same_everywhere():
    canary = make_integers()
    digest = hashlib.sha256(b"".join(array.tobytes() for array in (canary.images, *canary.weights.values())))
    assert digest.hexdigest()[:16] == "60ac02837dca0739"
