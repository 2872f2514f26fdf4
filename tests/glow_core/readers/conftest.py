"""What the tests of all readers share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glow_core import ImportOptions, read_checkpoint
from glow_core.errors import CheckpointError

sys.path.insert(0, str(Path(__file__).parent))  # the formulas_*.py beside the tests are imported by name


@pytest.fixture(scope="session")
def other_projects() -> Path:
    """The folder of checkpoints written by other projects' own code; see the README in it."""
    return Path(__file__).parents[2] / "fixtures" / "other_projects"


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Read a file that must not be read; gives the message, which is one line that begins with the file."""

    def read(path: Path, **options: object) -> str:
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path, options=ImportOptions(**options) if options else None)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        assert len(message) < len(str(path)) + 600
        return message.removeprefix(f"{path}: ")

    return read
