from __future__ import annotations

import pytest
import torch
from training_toys import toy_config, toy_settings

from glow_core.model import Glow
from glow_core.training.optimization import first_non_finite, learning_rate, make_optimizer


def test_learning_rate_warms_up_and_decays() -> None:
    settings = toy_settings(warmup_steps=10, learning_rate=0.02)
    rates = [learning_rate(step, settings) for step in range(1, 15)]
    assert rates == pytest.approx([0.002 * step for step in range(1, 11)] + [0.02] * 4)
    assert learning_rate(1, toy_settings(warmup_steps=0, learning_rate=0.02)) == 0.02
    settings = toy_settings(warmup_steps=0, learning_rate=1.0, decay=0.5)
    rates = [learning_rate(100, settings, progress=part) for part in (0.0, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 0.01])


def test_first_non_finite_names_the_tensor() -> None:
    model = Glow(toy_config())
    optimizer = make_optimizer(model.parameters(), toy_settings())
    model.log_prob(torch.rand(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert first_non_finite(("weight", model), optimizer=optimizer) is None
    moments = optimizer.state[next(iter(optimizer.state))]["exp_avg"]
    moments.flatten()[0] = float("nan")
    assert "exp_avg" in first_non_finite(("weight", model), optimizer=optimizer)
    moments.zero_()
    with torch.no_grad():
        model.prior.mean[1] = float("-inf")
    assert first_non_finite(("weight", model), optimizer=optimizer) == "weight prior.mean"
    with torch.no_grad():
        model.prior.mean[1] = 3e38
        model.prior.mean[2] = 3e38
    assert first_non_finite(("weight", model)) is None
