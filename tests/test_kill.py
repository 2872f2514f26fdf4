"""Commands that are killed at random instants, a bounded number of times; `make kill` does more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill.py"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="this system has no SIGKILL")
def test_a_killed_command_leaves_the_old_one_nothing_or_the_new_one():
    done = subprocess.run([sys.executable, str(SCRIPT), "--kills", "12"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 things were wrong" in done.stdout
