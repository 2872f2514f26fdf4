from __future__ import annotations

import doctest

import numpy as np

from glow_deploy.engines import example
from glow_deploy.engines.example import example_pair


def test_the_examples_hold():
    found = doctest.testmod(example)
    assert found.attempted
    assert not found.failed


def test_it_is_a_flow():
    """Invertible, and its density is that of a normal distribution around the middle, of deviation 1/4."""
    encoder, decoder = example_pair(size=(4, 6), channels=3)
    x = np.random.default_rng(0).random((5, 3, 4, 6)).astype(np.float32)
    out = encoder.run({"x": x})
    assert out["z1"].shape == out["z2"].shape == (5, 6, 2, 3)
    np.testing.assert_allclose(decoder.run({"z1": out["z1"], "z2": out["z2"]})["x"], x, atol=1e-6)
    deviations = (x.reshape(5, -1).astype(np.float64) - 0.5) / 0.25
    density = np.log(np.exp(-0.5 * deviations**2) / (0.25 * np.sqrt(2 * np.pi))).sum(axis=1)
    np.testing.assert_allclose(out["log_prob"], density, rtol=1e-5)
    # Each latent is one pixel's.
    assert len(np.unique(np.concatenate([out["z1"][0].ravel(), out["z2"][0].ravel()]).round(5))) == x[0].size
