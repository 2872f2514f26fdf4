"""Ctrl-C and SIGTERM at any instant: the right exit code, one line, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glow_cli.common.errors import exit_codes
from glow_cli.common.signals import ended_by_signals, received_signal

RUN = [sys.executable, "-m", "glow_cli"]


def end(words, *, after: float, number: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and send it a signal, to all of its group as a terminal does."""
    process = subprocess.Popen(
        [*RUN, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        out, err = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if ".tmp" in path.name or path.name[0] == "."}


def commands(model, pictures):
    """One of every command that writes."""
    return {
        "export": ["export", model.checkpoint, "--out", "bundle"],
        "sample": ["sample", "--engine", model.decoder, "-n", "100000", "--out", "many.npz"],
        "encode": ["encode", "--engine", model.encoder, *pictures, "--out", "z.npz"],
        "verify": ["verify", model.bundle, "--json", "v.json", "--report", "v.html"],
        "convert": ["convert", model.checkpoint, "--out", "c.safetensors"],
        "interpolate": ["interpolate", model.bundle, *pictures[:2], "--out", "i.png"],
        "score": ["score", model.bundle, *pictures, "--out", "s.csv"],
        "compile": ["compile", model.bundle, "--flavor", "rtx", "--force"],
        "train": ["train", "--data", "faces", "--out", "run", "--max-steps", "3", "--levels", "1", "--steps", "1"],
    }


NAMES = ("export", "sample", "encode", "verify", "convert", "interpolate", "score", "compile", "train")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_at_any_instant(model, pictures, tmp_path, name, number):
    if name == "compile":
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    words = commands(model, pictures)[name]
    interrupted = 0
    (tmp_path / "whole").mkdir()
    begun = time.monotonic()
    end(words, after=600, number=number, cwd=tmp_path / "whole")
    whole = time.monotonic() - begun  # on a busy machine it is a multiple of what it is on an idle one
    for share in (0.15, 0.35, 0.6, 0.9) if number == signal.SIGINT else (0.25, 0.5, 0.8):
        after = share * whole
        place = tmp_path / str(share)
        place.mkdir()
        done = end(words, after=after, number=number, cwd=place)
        if done.returncode == 0 or (name, done.returncode) == ("verify", 1):
            continue  # it was done before
        late = done.returncode == 128 + number and not done.stderr and name != "train"
        if done.stdout and (done.returncode == -number or late):
            # All was written and said, and the process was on its way out. Python itself hands signals back to the
            # system there, which a shell calls 128 + number as well.
            assert name == "compile" or any(place.iterdir()), (after, done)
            continue
        if done.returncode == -number and not done.stdout and "glow" not in done.stderr and not any(place.iterdir()):
            continue  # Python itself was starting, and had not come to our code
        interrupted += 1
        assert done.returncode == 128 + number, (after, done)
        assert "Traceback" not in done.stderr
        assert "bug" not in done.stderr
        lines = done.stderr.strip().splitlines()
        if name == "train" and not lines:
            # The step in hand was finished and saved; the result says so. A scheduler's SIGTERM is no error of the run.
            assert number == signal.SIGTERM
            assert "to continue: glow-deploy train --resume run" in done.stdout
        else:
            assert len(lines) in ((1, 2) if name == "train" else (1,)), done.stderr
        assert listing(place) == set()
        assert listing(model.bundle) == set()
    assert interrupted > 0, "no signal came in time"


@pytest.mark.parametrize("module", ["typer", "glow_core.config", "glow_cli.common.signals"])
@pytest.mark.parametrize(
    ("number", "status", "words"), [("SIGTERM", 143, "ended by SIGTERM"), ("SIGINT", 130, "interrupted")]
)
def test_before_anything_is_imported_it_is_one_line_too(tmp_path, module, number, status, words):
    """The console script catches signals before the libraries of the command line, and our own, are imported."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{module}': signal.raise_signal(signal.{number})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['glow-deploy', 'doctor']\n"
        "from glow_cli.entry import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == status
    assert done.stderr == f"error: {words}\n"


def run_code(body: str, number: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, signal, sys, time\n"
        "from glow_cli.common.errors import exit_codes\n"
        "from glow_cli.common.signals import ended_by_signals\n"
        "def send(): signal.raise_signal(signal." + number + ")\n"
        "with ended_by_signals(), exit_codes():\n" + body
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize(
    "body",
    [
        "    send()\n",
        # A library that makes an error of its own of it, and one that swallows it.
        "    try: send()\n    except BaseException: raise ImportError('broken')\n",
        "    try: send()\n    except BaseException: pass\n",
        "    try: send()\n    except BaseException: raise SystemExit(0)\n",
        # What is to be done on the way out is done.
        "    try: send()\n    finally: print('cleared up')\n",
    ],
)
def test_what_was_received_counts(body, number, status):
    done = run_code(body, number)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert done.stdout == ("cleared up\n" if "finally" in body else "")


@pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("swallows", [True, False])
def test_an_import_is_never_cut_short(tmp_path, number, status, swallows):
    """A compiled module that starts may lose what is raised there, or abort."""
    lines = ["import signal", f"signal.raise_signal(signal.{number})", "print('imported', flush=True)"]
    if swallows:
        lines = ["try:", *(f"    {line}" for line in lines), "except BaseException: pass"]
    (tmp_path / "begun.py").write_text("\n".join(lines))
    body = (
        f"    sys.path.insert(0, {str(tmp_path)!r})\n"
        "    import begun\n"
        "    for _ in range(500): time.sleep(0.01)\n"
        "    print('never said')\n"
    )
    done = run_code(body, number)
    assert (done.returncode, done.stdout) == (status, "imported\n")


def test_a_second_signal_ends_it_at_once():
    body = (
        "    try: send()\n"
        "    finally:\n"
        "        time.sleep(0.7); send(); print('never said')\n"
    )  # fmt: skip
    done = run_code(body, "SIGINT")
    assert (done.returncode, done.stdout) == (130, "")


def test_two_signals_of_one_press_are_one():
    done = run_code("    try: send()\n    finally:\n        send(); print('cleared up')\n", "SIGINT")
    assert (done.returncode, done.stdout) == (130, "cleared up\n")


def test_a_signal_that_is_switched_off_stays_off():
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from glow_cli.common.signals import ended_by_signals\n"
        "with ended_by_signals(): signal.raise_signal(signal.SIGHUP); print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ended_by_signals(), exit_codes():
        assert signal.getsignal(signal.SIGTERM) != before[1]
        assert received_signal() is None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    time.sleep(0)


@pytest.mark.parametrize("for_good", [True, False])
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("at", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_handlers_are_put_back_ends_it_too(at, number, for_good):
    code = (
        "import os, signal\n"
        "from glow_cli.common.signals import ended_by_signals\n"
        "real, ending = signal.signal, False\n"
        "def press(which, handler):\n"
        "    global ending\n"
        "    found = real(which, handler)\n"
        f"    if ending and which == signal.{at}:\n"
        "        ending = False\n"
        f"        signal.raise_signal(signal.{number})\n"
        "    return found\n"
        "signal.signal = press\n"
        f"with ended_by_signals(for_good={for_good}): ending = True\n"
        "print('never said')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    status = int(getattr(signal, number))
    # Where the handlers are those from before, Python's own and the system's say it in their way.
    assert done.returncode in ((128 + status,) if for_good else (128 + status, -status)), done
    assert done.stdout == ""
