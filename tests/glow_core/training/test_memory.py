"""What a pass keeps is counted, chosen and foretold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import toy_config, toy_settings, toy_training

from glow_core import Glow
from glow_core.training import Forecast, memory, model_cost, read_run
from glow_core.training.memory import (
    COPIES,
    SavedBytes,
    checkpoint_bytes,
    choose_memory,
    count_saved,
    loss_pass,
    penalty_bytes,
    plain_bytes,
)
from glow_core.training.penalties import penalty_terms

WAYS = ("plain", "checkpoint", "reversible")
CPU = torch.device("cpu")


def test_saved_bytes_are_counted_while_they_are_held() -> None:
    weight = torch.nn.Parameter(torch.ones(50))
    x = torch.ones(50, requires_grad=True)
    with count_saved(torch.nn.ParameterList([weight])) as counter:
        y = x * weight  # x is saved, the weight is not counted
        assert counter.held == 200
        z = (y * y).sum()  # y twice, of one storage
        assert counter.held == counter.peak == 400
        z.backward()
        assert (counter.held, counter.peak) == (0, 400)


def test_what_is_ignored_is_not_counted() -> None:
    tensor = torch.ones(8)
    counter = SavedBytes(ignored=[tensor])
    held = counter.hold(tensor)
    assert counter.peak == 0
    assert held.release().data_ptr() == tensor.data_ptr()


def kept(way: str, **changes: object) -> tuple[int, int]:
    glow = Glow(toy_config(image_size=(16, 16), **changes)).eval()
    with count_saved(glow) as counter:
        loss = loss_pass(glow, way)(torch.rand(5, 1, 16, 16)).sum()
        held = counter.held
        loss.backward()
    return held, counter.peak


def test_reversible_passes_keep_the_same_whatever_the_depth() -> None:
    shallow, deep = ({way: kept(way, steps=steps, width=32) for way in WAYS} for steps in (2, 12))
    assert deep["reversible"] == shallow["reversible"]
    assert deep["plain"][0] > 5 * shallow["plain"][0]
    # A step's input has 4 and 8 channels, where its conditioner has hidden layers of 32.
    assert deep["reversible"][0] < deep["checkpoint"][0] < deep["plain"][0] / 10
    assert deep["reversible"][1] < deep["plain"][1] / 5


@pytest.mark.parametrize(
    "changes", [{}, {"coupling": "additive", "prior": "independent"}, {"num_classes": 3, "edge_bias": True}]
)
def test_plain_bytes_are_those_of_the_model(changes: dict) -> None:
    config = toy_config(steps=5, **changes)
    y = None if config.num_classes is None else torch.zeros(6, dtype=torch.int64)
    glow = Glow(config).eval()
    with count_saved(glow) as counter:
        glow.log_prob(torch.rand(6, 1, 8, 8), y)
    assert plain_bytes(config, batch=6) == pytest.approx(counter.peak, rel=0.1)


def test_checkpoint_bytes_bound_those_of_the_model() -> None:
    config = toy_config(steps=5, width=32)
    glow = Glow(config).eval()
    with count_saved(glow) as counter:
        loss_pass(glow, "checkpoint")(torch.rand(6, 1, 8, 8)).sum().backward()
    assert counter.peak <= checkpoint_bytes(config, batch=6) < 2 * counter.peak


@pytest.mark.parametrize("checkpointed", [False, True])
def test_penalty_bytes_are_those_of_the_model(checkpointed: bool) -> None:
    config = toy_config(steps=4)
    settings = toy_settings(inverse_penalty=0.1, inverse_penalty_images=6, conditioning_penalty=0.1)
    glow = Glow(config).eval()
    with count_saved(glow) as counter:
        terms = penalty_terms(glow, torch.rand(6, 1, 8, 8), None, settings=settings, step=1, checkpointed=checkpointed)
        terms.objective.backward()
    assert penalty_bytes(config, settings, checkpointed=checkpointed) == pytest.approx(counter.peak, rel=0.15)
    assert penalty_bytes(config, toy_settings(), checkpointed=checkpointed) == 0


def test_auto_is_the_first_way_that_there_is_room_for(monkeypatch) -> None:
    config = toy_config(steps=8, width=32)
    settings = toy_settings(memory="auto", batch_size=8)
    weights = COPIES * 4 * model_cost(config).parameters
    plain, checkpointed = (weights + need(config, batch=8) for need in (plain_bytes, checkpoint_bytes))
    shared = weights + plain_bytes(config, batch=4)
    penalised = toy_settings(memory="auto", batch_size=8, inverse_penalty=0.1)
    penalties = weights + penalty_bytes(config, penalised, checkpointed=False)
    assert penalties > plain
    for chosen, room, processes, expected in (
        (settings, 2 * plain, 1, "plain"),
        (settings, 2 * plain - 2, 1, "checkpoint"),
        (settings, 2 * checkpointed, 1, "checkpoint"),
        (settings, 2 * checkpointed - 2, 1, "reversible"),
        (settings, 4 * shared, 2, "plain"),
        (settings, 4 * shared - 4, 2, "checkpoint"),
        (penalised, 2 * plain, 1, "checkpoint"),
        (penalised, 2 * penalties, 1, "plain"),
    ):
        monkeypatch.setattr(memory, "device_bytes", lambda device, room=room: room)
        assert choose_memory(chosen, config, device=CPU, processes=processes) == expected
    for way in WAYS:
        assert choose_memory(toy_settings(memory=way), config, device=CPU) == way


def test_a_resumed_run_keeps_its_way_whatever_the_machine_has(tmp_path: Path, monkeypatch) -> None:
    found: list[Forecast] = []
    monkeypatch.setattr(memory, "device_bytes", lambda device: 1 << 10)
    toy_training(tmp_path, max_steps=1, on_forecast=found.append)
    monkeypatch.setattr(memory, "device_bytes", lambda device: 1 << 40)
    assert read_run(tmp_path).settings.memory == "reversible"
    toy_training(tmp_path, max_steps=2, resume=True, on_forecast=found.append)
    toy_training(tmp_path, max_steps=3, resume=True, memory="checkpoint", on_forecast=found.append)
    toy_training(tmp_path, max_steps=4, resume=True, on_forecast=found.append)
    assert [one.memory for one in found] == ["reversible", "reversible", "checkpoint", "checkpoint"]


def test_the_memory_of_this_machine_is_known() -> None:
    assert memory.device_bytes(CPU) > 1 << 28


def test_a_run_chooses_by_itself_and_says_so(tmp_path: Path, monkeypatch) -> None:
    found: list[Forecast] = []
    for room in (1 << 40, 1 << 10):
        monkeypatch.setattr(memory, "device_bytes", lambda device, room=room: room)
        toy_training(tmp_path / str(room), max_steps=1, on_forecast=found.append)
    assert [one.memory for one in found] == ["plain", "reversible"]


def test_the_forecast_is_that_of_the_way_chosen(tmp_path: Path) -> None:
    config = toy_config(steps=6)
    weights = 5 * 4 * model_cost(config).parameters
    for way in WAYS:
        found: list[Forecast] = []
        toy_training(tmp_path / way, config=config, memory=way, max_steps=1, on_forecast=found.append)
        glow = Glow(config).eval()
        with count_saved(glow) as counter:
            loss_pass(glow, way)(torch.rand(16, 1, 8, 8)).sum().backward()
        assert found[0].memory == way
        assert found[0].memory_bytes - weights == pytest.approx(counter.peak, rel=0.1)


def test_penalties_count_where_they_keep_more(tmp_path: Path) -> None:
    found: list[Forecast] = []
    common = {"config": toy_config(steps=6), "max_steps": 1, "on_forecast": found.append}
    toy_training(tmp_path / "without", memory="reversible", **common)
    for way in ("reversible", "plain"):
        toy_training(tmp_path / way, memory=way, inverse_penalty=0.1, inverse_penalty_images=16, **common)
    without, low, plain = (one.memory_bytes for one in found)
    assert without < low < plain
