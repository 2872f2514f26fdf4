"""What a pass keeps is counted, chosen and foretold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import toy_config, toy_training

from glow_core import Glow
from glow_core.training import Forecast, memory, model_cost
from glow_core.training.memory import SavedBytes, choose_memory, count_saved, loss_pass, plain_bytes

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


def test_auto_is_plain_while_there_is_room(monkeypatch) -> None:
    config = toy_config(steps=4)
    need = plain_bytes(config, batch=8)
    for room, processes, expected in (
        (2 * need, 1, "plain"),
        (2 * need - 2, 1, "reversible"),
        (2 * need, 2, "reversible"),
        (4 * need, 2, "plain"),
    ):
        monkeypatch.setattr(memory, "_device_bytes", lambda device, room=room: room)
        assert choose_memory("auto", config, batch=8, device=CPU, processes=processes) == expected
    for way in WAYS:
        assert choose_memory(way, config, batch=8, device=CPU) == way


def test_the_memory_of_this_machine_is_known() -> None:
    assert memory._device_bytes(CPU) > 1 << 28


def test_a_run_chooses_by_itself_and_says_so(tmp_path: Path, monkeypatch) -> None:
    found: list[Forecast] = []
    for room in (1 << 40, 1 << 10):
        monkeypatch.setattr(memory, "_device_bytes", lambda device, room=room: room)
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
