"""The table of a run, and TensorBoard's."""

from __future__ import annotations

import csv
from pathlib import Path

from training_toys import curve, toy_training

from glow_core.training.logs import LOG_COLUMNS


def test_logs_and_events(run) -> None:
    out, _, events, _ = run
    with (out / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == list(range(1, 121))
    steps = [event for event in events if event.event == "step"]
    assert [float(row["bits_per_dim"]) for row in rows] == [event.bits_per_dim for event in steps]
    assert [row["step"] for row in rows if row["validation_bits_per_dim"]] == ["40", "80", "120"]
    assert steps[-1].fraction == 1.0
    assert steps[-1].eta_seconds == 0.0
    assert steps[60].steps_per_second > 0
    assert steps[60].eta_seconds > 0
    assert [event.step for event in events if event.event == "checkpoint"] == [0, 40, 80, 120]


def test_tensorboard_gets_the_penalties(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_training(tmp_path, max_steps=4, tensorboard=True, inverse_penalty=0.1, inverse_penalty_every=2)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("inverse_penalty")] == [2, 4]
    assert "conditioning_penalty" not in events.Tags()["scalars"]


def test_the_log_of_an_older_run_is_widened(tmp_path: Path) -> None:
    toy_training(tmp_path / "whole", max_steps=12)
    toy_training(tmp_path / "older", max_steps=8)
    log = tmp_path / "older" / "log.csv"
    rows = [line.rsplit(",", 2)[0] for line in log.read_text().splitlines()]
    assert rows[0].endswith("validation_bits_per_dim")
    log.write_text("\n".join(rows) + "\n9,1.2,9.0,1.")  # as an earlier release left it, killed while it wrote
    toy_training(tmp_path / "older", max_steps=12, resume=True)
    assert curve(tmp_path / "older") == curve(tmp_path / "whole")
    assert log.read_text().splitlines()[0] == ",".join(LOG_COLUMNS)
    assert not list((tmp_path / "older").glob(".log*"))


def test_tensorboard_hides_what_is_repeated(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_training(tmp_path, max_steps=10, checkpoint_every=100, tensorboard=True)
    toy_training(tmp_path, max_steps=12, tensorboard=True, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("bits_per_dim")] == list(range(1, 13))
    assert events.Tags()["images"]
