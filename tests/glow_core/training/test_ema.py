from __future__ import annotations

import pytest
import torch
from training_toys import toy_config

from glow_core.model import Glow
from glow_core.training.ema import AveragedWeights, decay_at


def test_average_follows_its_formula() -> None:
    torch.manual_seed(0)
    model = Glow(toy_config())
    average = AveragedWeights(model, decay=0.9)
    name = "levels.0.steps.0.coupling.conditioner.conv1.weight"
    expected = model.state_dict()[name].double().clone()
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model, step=step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.state_dict()[name].double()
    found = average.model.state_dict()[name]
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert not torch.allclose(found, model.state_dict()[name], atol=1e-2)
    assert (decay_at(1, decay=0.99), decay_at(10**6, decay=0.99)) == (pytest.approx(2 / 11), 0.99)


def test_average_copies_buffers_and_may_be_off() -> None:
    model = Glow(toy_config())
    average = AveragedWeights(model, decay=0.0)
    model.initialize(torch.rand(4, 1, 8, 8))
    assert not average.model.is_initialized
    average.update(model, step=1)
    ours = average.model.state_dict()
    assert average.model.is_initialized
    assert all(torch.equal(tensor, ours[name]) for name, tensor in model.state_dict().items())
