from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glow_core.errors import TrainingError
from glow_core.training.records import Records


@pytest.fixture
def records(tmp_path: Path):
    """Records in a folder that is not there yet; `grids` gets the sample grids."""
    grids: list[tuple[int, np.ndarray]] = []
    with Records(
        tmp_path / "run",
        state=SimpleNamespace(saved_step=None),
        n_bits=5,
        tensorboard=False,
        sample_writer=lambda step, pixels: grids.append((step, pixels)),
    ) as found:
        found.grids = grids
        yield found


def test_a_new_run_saves_before_its_log_begins(records: Records) -> None:
    seen = []
    records.open(step=0, save=lambda: seen.append((records.out / "log.csv").exists()))
    assert seen == [False]
    records.log(step=1, epoch=0.5, seconds=1.23456, bits_per_dim=2.5)
    records.sync()
    header, row = (records.out / "log.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["seconds"] == "1.235"
    assert row.startswith("1,0.5,1.235,2.5,")


def test_a_resumed_run_saves_nothing_and_keeps_the_rows_of_its_checkpoint(records: Records) -> None:
    records.open(step=0, save=lambda: None)
    for step in (1, 2, 3):
        records.log(step=step, epoch=0.0, seconds=0.0)
    state = SimpleNamespace(saved_step=None)
    with Records(records.out, state=state, n_bits=5, tensorboard=False, sample_writer=None) as again:
        again.open(step=2, save=lambda: pytest.fail("a resumed run was saved before its first step"))
        assert state.saved_step == 2
    rows = (records.out / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "2"]


def test_an_older_runs_events_go_once_the_new_run_is_saved(records: Records) -> None:
    old = records.out / "tensorboard" / "events.out.tfevents.1"
    old.parent.mkdir(parents=True)
    old.write_text("old")

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match=r"cannot write to .*run: No space left on device"):
        records.open(step=0, save=refuse)
    assert old.exists()
    records.open(step=0, save=lambda: None)
    assert not old.exists()


def test_sample_grids_are_handed_on_unless_they_are_empty(records: Records) -> None:
    records.samples(8, np.zeros((0, 1, 2, 2), np.uint8))
    assert records.grids == []
    pixels = np.ones((3, 1, 2, 2), np.uint8)
    records.samples(16, pixels)
    assert [(step, grid is pixels) for step, grid in records.grids] == [(16, True)]


def test_samples_that_cannot_be_written_name_their_step(tmp_path: Path) -> None:
    def full(step: int, pixels: np.ndarray) -> None:
        raise OSError("disk full")

    state = SimpleNamespace(kept=lambda: "the last checkpoint is kept")
    with (
        Records(tmp_path, state=state, n_bits=5, tensorboard=False, sample_writer=full) as records,
        pytest.raises(TrainingError, match=r"step 8: .* the samples: disk full; the last checkpoint is kept; make"),
    ):
        records.samples(8, np.ones((1, 1, 2, 2), np.uint8))
