"""The table of a run, and TensorBoard's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from training_toys import curve, toy_training

from glow_core.temporaries import temporary_name
from glow_core.training.logs import LOG_COLUMNS, CsvLog


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


def test_a_table_is_widened_beside_a_link_that_somebody_left(tmp_path: Path, monkeypatch) -> None:
    """Under the very name of the file in the making, should it have been guessed."""
    log, victim = tmp_path / "log.csv", tmp_path / "victim"
    log.write_text(",".join(LOG_COLUMNS[:-2]) + "\n1,1,1,1,1,1,1\n")
    victim.write_text("precious")
    before = log.read_bytes()
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    (tmp_path / temporary_name("log.csv")).symlink_to(victim)
    with pytest.raises(FileExistsError):
        CsvLog(log, keep_steps=1)
    assert (victim.read_text(), log.read_bytes()) == ("precious", before)
    (tmp_path / temporary_name("log.csv")).unlink()
    CsvLog(log, keep_steps=1).close()  # the control
    assert log.read_text() == ",".join(LOG_COLUMNS) + "\n1,1,1,1,1,1,1,,\n"
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "victim"}


@pytest.mark.parametrize("step", ["\u00b2", "9" * 5000, "-1", ""])
def test_rows_from_one_without_a_number_on_are_dropped(tmp_path: Path, step: str) -> None:
    log = tmp_path / "log.csv"
    kept = ",".join(LOG_COLUMNS) + "\n1,1,1,1,1,1,1,,\n"
    log.write_text(f"{kept}{step},1,1,1,1,1,1,,\n3,1,1,1,1,1,1,,\n", encoding="utf-8")
    CsvLog(log, keep_steps=5).close()
    assert log.read_text() == kept
