"""What a run will take is measured, and leaves the run as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_config, toy_training

from glow_core.training import Forecast

PENALTIES = {"inverse_penalty": 0.05, "inverse_penalty_every": 2, "conditioning_penalty": 0.02}


def tensors(out: Path) -> dict[str, torch.Tensor]:
    content = torch.load(out / "ckpt.pt", weights_only=True)
    moments = content["training"]["optimizer"]["state"]
    return {
        **{f"model {name}": tensor for name, tensor in content["model"].items()},
        **{f"ema {name}": tensor for name, tensor in content["ema"].items()},
        **{
            f"{number} {name}": tensor
            for number, state in moments.items()
            for name, tensor in state.items()
            if isinstance(tensor, torch.Tensor)
        },
    }


@pytest.mark.parametrize(
    ("classes", "options"), [(None, {}), (2, {}), (None, PENALTIES), (None, {"optimizer": "adam"})]
)
def test_a_run_is_the_same_with_a_forecast_bit_for_bit(tmp_path: Path, classes: int | None, options: dict) -> None:
    found: list[Forecast] = []
    toy_training(tmp_path / "with", classes=classes, max_steps=10, on_forecast=found.append, **options)
    toy_training(tmp_path / "without", classes=classes, max_steps=10, **options)
    assert len(found) == 1
    assert curve(tmp_path / "with") == curve(tmp_path / "without")
    with_it, without = tensors(tmp_path / "with"), tensors(tmp_path / "without")
    assert list(with_it) == list(without)
    assert [name for name in without if not torch.equal(with_it[name], without[name])] == []


def test_a_resumed_run_forecasts_what_is_left_and_stays_the_same(tmp_path: Path) -> None:
    found: list[Forecast] = []
    toy_training(tmp_path / "halves", max_steps=16)
    toy_training(tmp_path / "halves", max_steps=24, resume=True, on_forecast=found.append)
    toy_training(tmp_path / "whole", max_steps=24)
    assert curve(tmp_path / "halves") == curve(tmp_path / "whole")
    assert [one.steps for one in found] == [8]


def test_nothing_is_forecast_where_nothing_is_left(tmp_path: Path) -> None:
    found: list[Forecast] = []
    toy_training(tmp_path, max_steps=8)
    toy_training(tmp_path, max_steps=8, resume=True, on_forecast=found.append)
    assert found == []


def test_it_comes_before_the_first_step(tmp_path: Path) -> None:
    events: list[str] = []
    toy_training(
        tmp_path,
        max_steps=2,
        on_forecast=lambda forecast: events.append("forecast"),
        progress=lambda progress: events.append(progress.event),
    )
    assert events.index("forecast") < events.index("step")


def test_the_whole_is_made_of_the_steps_and_the_looks(tmp_path: Path) -> None:
    """24 steps of 16 images, 3 looks at 40 images and a grid of 4, which cost a third of a step's for each image."""
    found: list[Forecast] = []
    toy_training(tmp_path, max_steps=24, on_forecast=found.append)
    (one,) = found
    assert one.step_seconds > 0
    assert one.seconds == pytest.approx(one.step_seconds * (24 + (3 * 40 + 4) / 16 / 3))


def test_time_ends_a_run_that_would_take_longer(tmp_path: Path) -> None:
    found: list[Forecast] = []
    toy_training(tmp_path, max_steps=10**9, max_seconds=0.5, on_forecast=found.append)
    (one,) = found
    assert one.seconds == 0.5
    assert one.steps == round(0.5 / one.step_seconds)


def test_memory_grows_with_the_batch_beside_five_copies_of_the_weights(tmp_path: Path) -> None:
    from glow_core.training import model_cost

    memory: dict[int, int] = {}
    for batch in (16, 32):
        found: list[Forecast] = []
        toy_training(tmp_path / str(batch), max_steps=1, batch_size=batch, on_forecast=found.append)
        memory[batch] = found[0].memory_bytes
    weights = 5 * 4 * model_cost(toy_config()).parameters
    kept = memory[16] - weights
    assert memory[32] - weights == pytest.approx(2 * kept, rel=0.05)
    # Two hidden layers of 8 channels on 4x4 and 2x2 pixels, each kept at least once, for 16 images.
    assert kept > 16 * 4 * 2 * 8 * (16 + 4)
