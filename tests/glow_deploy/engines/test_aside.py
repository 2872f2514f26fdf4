"""stdout carries the answer alone, however many threads run foreign code, and whatever that code does."""

from __future__ import annotations

import os
import subprocess
import sys

from glow_deploy.engines.aside import Aside


def test_it_is_turned_until_the_last_has_left(capfd):
    aside = Aside()
    before = sys.stdout
    first, second = aside.turned(), aside.turned()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    print("aside")
    os.write(1, b"aside too\n")
    second.__exit__(None, None, None)
    assert sys.stdout is before
    print("the answer")
    os.write(1, b"and its end\n")
    sys.stdout.flush()
    out, told = capfd.readouterr()
    assert sorted(out.splitlines()) == ["and its end", "the answer"]
    assert sorted(told.splitlines()) == ["aside", "aside too"]


def test_a_closed_stdout_is_no_error():
    code = (
        "import os, sys\n"
        "from glow_deploy.engines.aside import Aside\n"
        "os.close(1)\n"
        "with Aside().turned():\n"
        "    print('aside')\n"
        "print('still here', file=sys.stderr)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (0, ["aside", "still", "here"])
