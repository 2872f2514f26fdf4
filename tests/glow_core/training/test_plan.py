"""What a run would take is measured without images, and what cannot fit is refused with what would."""

from __future__ import annotations

import pytest
import torch
from training_toys import toy_config, toy_settings

from glow_core import GlowConfig
from glow_core.errors import TrainingError
from glow_core.training import memory, model_cost, plan, plan_training
from glow_core.training.memory import checkpoint_bytes, plain_bytes, reversible_bytes
from glow_core.training.prepared import Computing

CONFIG = toy_config(steps=6, width=16, num_classes=2)
ADDITIVE = toy_config(steps=6, width=16, coupling="additive")


@pytest.mark.parametrize(
    ("way", "foretold"), [("plain", plain_bytes), ("checkpoint", checkpoint_bytes), ("reversible", reversible_bytes)]
)
def test_what_is_measured_is_what_was_foretold(way: str, foretold) -> None:
    state = torch.random.get_rng_state()
    found = plan_training(CONFIG, toy_settings(memory=way, accumulate=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = 4 * model_cost(CONFIG).parameters
    assert (found.weight_bytes, found.optimizer_bytes, found.average_bytes) == (2 * weights, 2 * weights, weights)
    assert found.memory_bytes == 5 * weights + found.activation_bytes
    assert found.activation_bytes <= 1.1 * foretold(CONFIG, batch=8) < 3 * found.activation_bytes
    assert (found.memory, found.accumulate, found.batch_size) == (way, 2, 16)
    assert found.step_seconds > 0


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch) -> None:
    weights = 20 * model_cost(CONFIG).parameters

    def least() -> int:
        return min(need(CONFIG, batch=1) for need in (plain_bytes, checkpoint_bytes, reversible_bytes))

    def with_room(size: float, config: GlowConfig = CONFIG, **settings: object) -> str:
        for module in (plan, memory):
            monkeypatch.setattr(module, "device_bytes", lambda device: int(size))
        with pytest.raises(TrainingError) as raised:
            plan_training(config, toy_settings(memory="plain", **settings))
        return str(raised.value)

    plain, checkpointed = (weights + need(CONFIG, batch=16) for need in (plain_bytes, checkpoint_bytes))
    assert "; --memory checkpoint would take about" in with_room((plain + checkpointed) / 2)
    assert "--accumulate" in with_room(weights + reversible_bytes(CONFIG, batch=4))
    assert "not even one image at a time fits" in with_room(weights)
    assert "--accumulate 6 would" in with_room(weights + 1.01 * least(), batch_size=6)  # no power of two
    assert "choose a smaller batch or" in with_room(weights, ADDITIVE, exact_aware=True)
    for module in (plan, memory):  # a control: with room there is a plan
        monkeypatch.setattr(module, "device_bytes", lambda device: 2 * plain)
    assert plan_training(CONFIG, toy_settings(memory="plain")).device_bytes == 2 * plain


def test_a_plan_is_that_of_the_run_whatever_is_computed() -> None:
    plain = plan_training(ADDITIVE, toy_settings(memory="plain"))
    aware = plan_training(ADDITIVE, toy_settings(memory="plain", exact_aware=True))
    assert aware.activation_bytes > 1.15 * plain.activation_bytes
    foretold = plain_bytes(ADDITIVE, batch=16, computing=Computing(exact_aware=True))
    assert aware.activation_bytes == pytest.approx(foretold, rel=0.15)
    with pytest.raises(TrainingError, match="affine"):
        plan_training(CONFIG, toy_settings(exact_aware=True))
