"""Lines that a run prints do not run into its bar."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from glow_cli.common.console import Bars, Output
from glow_cli.common.training import Reporter, SampleGrids
from rich.console import Console
from rich.progress import Progress, TextColumn

from glow_core.errors import TrainingError


def test_a_line_begins_where_the_bar_was_taken_away(monkeypatch):
    screen = io.StringIO()
    output = Output()
    output.console.file = screen
    console = Console(file=screen, force_terminal=True, width=60, legacy_windows=False)
    with Progress(TextColumn("{task.description}"), console=console, transient=True) as progress:
        bars = Bars(progress)
        bars.describe("measuring a step", 0.0)
        progress.refresh()
        Reporter(bars, output).say("forecast: a while")
        bars.describe("step 1", 0.5)
        progress.refresh()
    before = screen.getvalue().partition("forecast: a while")[0]
    assert "measuring a step" in before
    assert re.search(r"\x1b\[2K$", before), repr(before)  # the line is empty again
    assert "step 1" in screen.getvalue().partition("forecast: a while")[2]


def test_a_line_comes_out_alone_where_there_is_no_bar(capsys):
    output = Output()
    with output.progress() as bars:
        Reporter(bars, output).say("forecast: a while")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("forecast: a while\n", "")


def test_sample_grids_are_not_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "samples").symlink_to("elsewhere")
    with pytest.raises(TrainingError, match="samples is a link"):
        SampleGrids(tmp_path, 5)
    (tmp_path / "samples").unlink()
    SampleGrids(tmp_path, 5)(1, np.zeros((4, 3, 8, 8), np.uint8))
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-000001.png"]
