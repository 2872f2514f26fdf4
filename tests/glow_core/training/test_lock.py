import os
import signal
import subprocess
import sys
import time

import pytest
from training_toys import toy_training

from glow_core.errors import TrainingError
from glow_core.locks import LOCK_NAME
from glow_core.training.lock import run_lock

pytest.importorskip("fcntl", reason="this system has no file locks of this kind")

HOLDER = """
import sys, time
from pathlib import Path
from glow_core.training.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `run`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_training_in_a_folder_is_refused_by_name(holder, tmp_path):
    run = tmp_path / "run"
    for options in ({}, {"overwrite": True}):
        with pytest.raises(TrainingError, match=f"process {holder.pid} is training in it") as raised:
            toy_training(run, max_steps=2, **options)
        assert "\n" not in str(raised.value)
    assert [path.name for path in run.iterdir()] == [LOCK_NAME]


def test_a_lock_of_a_killed_process_holds_nobody_up(holder, tmp_path):
    run = tmp_path / "run"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (run / LOCK_NAME).read_text() == f"{holder.pid}\n"
    toy_training(run, max_steps=2)
    assert (run / "ckpt.pt").is_file()
    assert not (run / LOCK_NAME).exists()


def test_nothing_stays_of_a_lock(tmp_path):
    with run_lock(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run" / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "a" / "run").exists()


def test_a_run_that_ended_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    """Both found the folder empty, and the second got the lock when the first was done."""
    from glow_core.training import loop

    looks = []

    def first_time_blind(out):
        looks.append(out)
        if len(looks) > 1:
            raise TrainingError("already holds a run")

    monkeypatch.setattr(loop, "_refuse_run", first_time_blind)
    with pytest.raises(TrainingError, match="already holds"):
        toy_training(tmp_path / "run", max_steps=2)
    assert not (tmp_path / "run").exists()


def test_many_that_want_it_get_it_one_after_the_other(tmp_path):
    """A lock whose file its holder removes may not be held twice."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from glow_core.errors import TrainingError\n"
        "from glow_core.training.lock import run_lock\n"
        "held = 0\n"
        "end = time.monotonic() + 2\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with run_lock(Path(sys.argv[1])):\n"
        "            (Path(sys.argv[1]) / 'mine').mkdir()\n"
        "            (Path(sys.argv[1]) / 'mine').rmdir()\n"
        "            held += 1\n"
        "    except TrainingError: pass\n"
        "print(held)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        assert int(out) > 0
    time.sleep(0)


def test_a_lock_that_holds_words_is_not_quoted(holder, tmp_path):
    (tmp_path / "run" / LOCK_NAME).write_text("\x1b[2J of a stranger")
    with (
        pytest.raises(TrainingError, match="process of an unknown number is training"),
        run_lock(tmp_path / "run"),
    ):
        pass
