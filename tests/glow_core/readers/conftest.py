"""What the tests of all readers share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def other_projects() -> Path:
    """The folder of checkpoints written by other projects' own code; see the README in it."""
    return Path(__file__).parents[2] / "fixtures" / "other_projects"
