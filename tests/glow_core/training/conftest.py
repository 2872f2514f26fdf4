from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


class ForkServer:
    """Starts training in processes of their own, without paying for the imports each time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def _ask(self, request: dict) -> int:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, out: Path, **options: object) -> int:
        return self._ask({"out": str(out), **options})

    def wait(self, pid: int) -> int:
        """Exit code, or minus the signal that ended the process."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A run of 120 steps: its folder, result, events and sample grids."""
    from training_toys import toy_training

    from glow_core.training import Progress

    out = tmp_path_factory.mktemp("run")
    events: list[Progress] = []
    grids: list[tuple[int, np.ndarray]] = []
    result = toy_training(
        out,
        max_steps=120,
        validate_every=40,
        checkpoint_every=40,
        sample_every=80,
        progress=events.append,
        sample_writer=lambda step, pixels: grids.append((step, pixels)),
    )
    return out, result, events, grids
