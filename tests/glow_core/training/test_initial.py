"""A run that starts from given weights, and runs of models that know their border or have independent priors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_config, toy_training

from glow_core import Glow, read_checkpoint
from glow_core.errors import TrainingError
from glow_core.training import Progress

FEATURES = [
    pytest.param({"edge_bias": True}, id="edges"),
    pytest.param({"prior": "independent"}, id="independent"),
    pytest.param({"edge_bias": True, "num_classes": 2}, id="edges-classes"),
    pytest.param({"prior": "independent", "num_classes": 2}, id="independent-classes"),
]
PENALTIES = {"inverse_penalty": 0.1, "inverse_penalty_images": 4, "conditioning_penalty": 0.01}


def states_at_step_0(out: Path) -> tuple[dict, object]:
    """What a progress callback finds in the first checkpoint."""
    found: dict = {}

    def look(progress: Progress) -> None:
        if progress.event == "checkpoint" and progress.step == 0:
            checkpoint = read_checkpoint(out / "ckpt.pt")
            found.update(model=checkpoint.model, ema=checkpoint.ema, training=checkpoint.training)

    return found, look


def test_the_run_starts_from_the_given_weights(tmp_path: Path, perturbed_glow) -> None:
    initial = perturbed_glow(toy_config()).state_dict()
    kept = {name: tensor.clone() for name, tensor in initial.items()}
    found, look = states_at_step_0(tmp_path)
    toy_training(tmp_path, max_steps=3, initial=initial, progress=look)
    for state in (found["model"], found["ema"]):
        assert all(torch.equal(state[name], tensor) for name, tensor in kept.items())
    assert not found["training"]["optimizer"]["state"]
    assert all(torch.equal(initial[name], tensor) for name, tensor in kept.items()), "the caller's tensors moved"
    after = read_checkpoint(tmp_path / "ckpt.pt").model
    assert any(not torch.equal(after[name], tensor) for name, tensor in kept.items())


def test_resumed_it_goes_on_as_if_never_stopped(tmp_path: Path, perturbed_glow) -> None:
    initial = perturbed_glow(toy_config()).state_dict()
    toy_training(tmp_path / "whole", max_steps=12, initial=initial)
    toy_training(tmp_path / "halves", max_steps=8, initial=initial)
    toy_training(tmp_path / "halves", max_steps=12, resume=True)
    assert curve(tmp_path / "halves") == curve(tmp_path / "whole")
    toy_training(tmp_path / "fresh", max_steps=12)
    assert curve(tmp_path / "fresh") != curve(tmp_path / "whole")


def test_actnorms_that_were_never_set_are_set(tmp_path: Path) -> None:
    torch.manual_seed(3)
    initial = Glow(toy_config()).state_dict()
    found, look = states_at_step_0(tmp_path)
    toy_training(tmp_path, max_steps=1, initial=initial, progress=look)
    flags = [tensor for name, tensor in found["model"].items() if name.endswith("initialized")]
    assert all(int(flag) == 1 for flag in flags)
    name = "levels.0.steps.0.permutation.lower"
    assert torch.equal(found["model"][name], initial[name])


def test_weights_of_another_model_are_refused(tmp_path: Path, perturbed_glow) -> None:
    state = perturbed_glow(toy_config()).state_dict()
    missing = {name: tensor for name, tensor in state.items() if name != "prior.mean"}
    infinite = {**state, "prior.mean": torch.full_like(state["prior.mean"], float("inf"))}
    for initial, message in (
        (missing, r"prior\.mean"),
        ({**state, "extra": torch.zeros(1)}, "extra"),
        (perturbed_glow(toy_config(width=9)).state_dict(), "of another shape"),
        (perturbed_glow(toy_config(edge_bias=True)).state_dict(), "edge"),
        (infinite, "prior.mean is not finite"),
    ):
        with pytest.raises(TrainingError, match=message):
            toy_training(tmp_path, initial=initial)
        assert not list(tmp_path.iterdir())


def test_a_resumed_run_takes_no_other_weights(tmp_path: Path, perturbed_glow) -> None:
    toy_training(tmp_path, max_steps=1)
    with pytest.raises(TrainingError, match="leave initial= out"):
        toy_training(tmp_path, max_steps=2, resume=True, initial=perturbed_glow(toy_config()).state_dict())


@pytest.mark.parametrize(
    ("features", "penalties"),
    [
        pytest.param(
            *case.values,
            given,
            id=f"{case.id}{'-penalties' * bool(given)}",
            marks=[pytest.mark.slow] * (bool(given) != (n in (1, 2))),
        )
        for n, case in enumerate(FEATURES)
        for given in ({}, PENALTIES)
    ],
)
def test_new_kinds_of_models_train_and_resume(tmp_path: Path, features: dict, penalties: dict) -> None:
    config = toy_config(**features)
    options = {"config": config, "classes": config.num_classes, **penalties}
    toy_training(tmp_path / "whole", max_steps=12, **options)
    toy_training(tmp_path / "halves", max_steps=8, **options)
    toy_training(tmp_path / "halves", max_steps=12, resume=True, **options)
    rows = curve(tmp_path / "whole")
    assert curve(tmp_path / "halves") == rows
    assert float(rows[-1][2]) < float(rows[0][2]) - 0.1
    state = read_checkpoint(tmp_path / "whole" / "ckpt.pt").model
    learned = [name for name in state if "edge" in name or name.startswith("prior.") or ".split.prior." in name]
    assert all(bool(state[name].any()) for name in learned)
    if config.prior == "independent" and config.num_classes:
        first, second = state["levels.0.split.prior.mean"]
        assert not torch.equal(first, second)


def test_a_model_of_another_kind_is_refused_on_resume(tmp_path: Path) -> None:
    toy_training(tmp_path / "plain", max_steps=1)
    toy_training(tmp_path / "edges", max_steps=1, config=toy_config(edge_bias=True))
    with pytest.raises(TrainingError, match="edge_bias False, now True"):
        toy_training(tmp_path / "plain", max_steps=2, resume=True, config=toy_config(edge_bias=True))
    with pytest.raises(TrainingError, match="edge_bias True, now False"):
        toy_training(tmp_path / "edges", max_steps=2, resume=True)
