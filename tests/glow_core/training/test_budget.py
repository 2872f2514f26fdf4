from __future__ import annotations

from training_toys import toy_images, toy_settings

from glow_core.training.budget import Budget


def test_budget_is_whichever_runs_out_first() -> None:
    budget = Budget(toy_settings(max_steps=100, max_epochs=2, max_seconds=30.0, batch_size=16), images=120)
    assert budget.used_up(step=14, seconds=29) is None
    assert budget.used_up(step=15, seconds=0) == "epochs"
    assert budget.used_up(step=1, seconds=30) == "time"
    assert budget.fraction(step=3, seconds=15) == 0.5
    assert budget.seconds_left(step=5, seconds=0, rate=2.0) == 5
    assert budget.seconds_left(step=5, seconds=29, rate=None) == 1


def test_steps_left() -> None:
    images = len(toy_images())
    assert Budget(toy_settings(max_steps=24), images=images).steps_left(step=20) == 4
    assert Budget(toy_settings(max_steps=24), images=images).steps_left(step=30) == 0
    epochs = Budget(toy_settings(max_steps=24, max_epochs=1), images=images)
    assert epochs.steps_left(step=2) == 6  # 120 images are 8 batches of 16
    assert Budget(toy_settings(max_steps=None, max_seconds=9), images=images).steps_left(step=2) is None
