"""What the tests of all readers share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the formulas_*.py beside the tests are imported by name


@pytest.fixture(scope="session")
def other_projects() -> Path:
    """The folder of checkpoints written by other projects' own code; see the README in it."""
    return Path(__file__).parents[2] / "fixtures" / "other_projects"
