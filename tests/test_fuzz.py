"""A minute of mutants, the same ones every time as far as it gets; `make fuzz MINUTES=60` goes on for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("fuzz") / "run.py"


def _run(*arguments, tmp_path):
    return subprocess.run(
        [sys.executable, str(RUN), "--out", str(tmp_path / "findings"), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the workers' limits are those of Unix")
def test_mutants_are_read_or_refused(tmp_path):
    done = _run("--minutes", "0.8", "--seed", "0", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    words = [line.strip().rpartition(": ") for line in lines if line.startswith("  ")]
    counts = {key: int(count) for key, _, count in words}
    # The control: of every kind some are read and some are refused, so that the mutants get somewhere.
    for loader in ("graph", "latents", "set", "picture", "golden"):
        assert counts[f"{loader} refused"] > 0
    assert sum(count for key, count in counts.items() if key.endswith(" ok")) > 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the workers' limits are those of Unix")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "the process ended with -11"),
        ("bytearray(8 << 30)", "MemoryError"),
        ("raise ValueError('ours')", "ValueError: ours"),
        ("import time; time.sleep(60)", "no end within 2 s"),
    ],
)
def test_findings_are_told(tmp_path, body, words):
    """The negative control: a loader that crashes, takes too much, fails or waits is found out."""
    code = tmp_path / "run_spoilt.py"
    worker = tmp_path / "worker.py"
    folder = RUN.parent
    worker.write_text(
        (folder / "worker.py")
        .read_text()
        .replace("    from loaders", f"    sys.path.insert(0, {str(folder)!r})\n    from loaders")
        .replace("LOADERS[name](Path(path))", f"exec({body!r})")
    )
    code.write_text(
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[0] = 'run'\n"
        "import run\nfrom pathlib import Path\n"
        f"run.HERE = Path({str(tmp_path)!r}); run.SECONDS = 2.0\n"
        "worker = run.Worker()\n"
        "try:\n    print(worker.ask('manifest', Path('x')))\nfinally:\n    worker.stop()\n"
    )
    done = subprocess.run(
        [sys.executable, str(code)], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert words in done.stdout, done.stdout + done.stderr
