"""A run and a plan of it prepare the same model, and what a GPU keeps is foretold by what computes there."""

from __future__ import annotations

import pytest
import torch
from training_toys import toy_config, toy_settings

from glow_core import Glow
from glow_core.flows.conditioner import Conditioner
from glow_core.training.memory import choose_memory, count_saved, penalty_bytes, plain_bytes
from glow_core.training.prepared import Computing, new_model, prepare

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
AWARE = {"exact_aware": True}


def kept(glow: Glow) -> int:
    with count_saved(glow) as counter:
        glow.log_prob(torch.rand(6, 1, 8, 8))
    return counter.peak


@pytest.mark.parametrize(("settings", "edge_bias"), [({}, True), ({"precision": "bf16-mixed"}, False), (AWARE, True)])
def test_what_a_device_keeps_is_foretold(monkeypatch, settings: dict, edge_bias: bool) -> None:
    config = toy_config(steps=5, width=64, coupling="additive", edge_bias=edge_bias)
    chosen = toy_settings(**settings)
    found = {}
    for device in (CPU, GPU):
        if device is GPU:
            monkeypatch.setattr(
                Conditioner, "_by_products", lambda net, x: net.by_convolutions(x, arithmetic=net.arithmetic)
            )
        glow = new_model(config, chosen, CPU)
        glow.initialize(torch.rand(6, 1, 8, 8))
        prepare(glow, chosen)
        found[device.type] = kept(glow)
        if device is GPU:
            monkeypatch.undo()
        foretold = plain_bytes(config, batch=6, computing=Computing.of(chosen, device))
        assert foretold == pytest.approx(found[device.type], rel=0.1)
    if settings == AWARE:  # which goes by convolutions everywhere
        assert found["cpu"] == found["cuda"] > 1.5 * plain_bytes(config, batch=6)
    else:
        assert found["cuda"] > 1.2 * found["cpu"]


def test_the_choice_for_a_gpu_counts_what_a_gpu_keeps(monkeypatch) -> None:
    config = toy_config(steps=2, width=32)
    settings = toy_settings(memory="auto", batch_size=8, inverse_penalty=0.1)
    rooms = [penalty_bytes(config, settings, checkpointed=False, device=device) for device in (CPU, GPU)]
    assert rooms[1] > 1.2 * rooms[0]
    weights = 20 * sum(parameter.numel() for parameter in Glow(config).parameters())
    between = 2 * (weights + sum(rooms) // 2)
    monkeypatch.setattr("glow_core.training.memory.device_bytes", lambda device: between)
    assert choose_memory(settings, config, device=CPU) == "plain"
    assert choose_memory(settings, config, device=GPU) == "checkpoint"


def test_the_memory_format_is_that_of_the_settings() -> None:
    def last(width: int, device: torch.device = CPU, **settings: object) -> bool:
        glow = new_model(toy_config(width=width), toy_settings(**settings), device)
        weight = glow.flow_levels()[0].flow_steps()[0].coupling.conditioner.conv1.weight
        return weight.is_contiguous(memory_format=torch.channels_last)

    assert [last(16), last(256)] == [False, True]
    assert [last(16, channels_last=True), last(256, channels_last=False)] == [True, False]
