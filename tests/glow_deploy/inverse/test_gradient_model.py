from __future__ import annotations

import doctest

import numpy as np
import pytest

from glow_deploy.inverse import gradient_model
from glow_deploy.inverse.gradient_model import ExampleGradient


def test_the_examples_hold():
    found = doctest.testmod(gradient_model, extraglobs={"np": np})
    assert (found.failed, found.attempted >= 2) == (0, True)


@pytest.mark.parametrize("size", [(2, 2), (4, 6)])
def test_the_gradients_are_those_of_finite_differences(size):
    model = ExampleGradient(size=size, channels=2)
    rng = np.random.default_rng(0)
    x = rng.random((3, 2, *size)).astype(np.float32)
    log_prob, gradient = model.log_prob_gradient(x, None)
    step = rng.normal(size=x.shape).astype(np.float32)
    change = model.log_prob_gradient(x + 0.01 * step, None)[0] - model.log_prob_gradient(x - 0.01 * step, None)[0]
    assert log_prob.shape == (3,)
    assert change / 0.02 == pytest.approx((gradient * step).sum(axis=(1, 2, 3)), rel=1e-2, abs=0.05)


def test_the_gradient_by_latents_is_a_quarter_of_that_by_the_image_in_their_order():
    model = ExampleGradient(size=(4, 4))
    names = [spec.name for spec in model.encoder.outputs if spec.name.startswith("z")]
    x = np.random.default_rng(0).random((2, 1, 4, 4)).astype(np.float32)
    encoded = model.encoder.run({"x": x})
    target = np.random.default_rng(1).random(x.shape).astype(np.float32)
    decoded, gradient = model.decode_gradient([encoded[name] for name in names], None, lambda image: image - target)
    assert np.abs(decoded - x).max() < 1e-6
    # (x - target) / 4 in the order of the latents: z is 4 (x - 0.5), so a quarter of a difference is z's over 16.
    other = model.encoder.run({"x": target})
    for name, found in zip(names, gradient, strict=True):
        assert found == pytest.approx((encoded[name] - other[name]) / 16, abs=1e-6)
