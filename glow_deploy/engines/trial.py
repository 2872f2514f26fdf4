"""A second wall before a runtime: a graph that nobody vouches for is first opened and run in a process of its own.

The first wall, `artifact.lint`, refuses what is known to be harmful. ONNX Runtime and OpenVINO are large C++ programs,
so what is not known may still crash one, or make it hang or take all memory; then the other process ends, and not this
one. A graph that lies in a bundle whose manifest gives its sha256 is not tried. On Linux the process has limits on
memory and time; macOS knows no limit on memory, and Windows none of both, so that only the wait for the process has an
end there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from glow_deploy.errors import EngineError
from glow_deploy.printable import one_line

__all__ = ["OUT_OF_MEMORY", "PASSED", "PLUGIN", "try_graph"]

_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}

PLUGIN = "plugin"
"""The runtime that stands for a backend of an installed package."""

PASSED = b"glow-deploy: passed"
"""What the other process says at its end, when the runtime took the graph or refused it in good order."""

OUT_OF_MEMORY = b"glow-deploy: memory"
"""What it says when the runtime asked for more memory than it may have."""

_SECONDS = 60.0
_MULTIPLICATIONS_PER_SECOND = 2e9  # one slow core


def try_graph(data: bytes, *, work: int, source: str, runtime: str = "onnxruntime", plugin: str = "") -> None:
    """Open a graph on the CPU in a process of its own and run one image of zeros; returns when that went well.

    It costs the start of Python and of the runtime, a second or a few, and one image's time.

    Args:
        data: the whole ONNX file, which `artifact.lint` accepts.
        work: multiplications for one image, by which the time limit grows.
        source: the file's name, for messages.
        runtime: what will run it: `onnxruntime`, `openvino` or `PLUGIN`.
        plugin: the name of the backend that a package brings, for `PLUGIN`.

    Raises:
        EngineError: the process crashed, or took too much time or memory. What the runtime refuses in good order is
            left to be said when the graph is opened here.
    """
    name = plugin or _NAMES[runtime]
    # A backend that needs more than the process may have would refuse every file.
    instead = "do not use the file" + (", or name one in a bundle, which is not tried" if plugin else "")
    seconds = _SECONDS + work / _MULTIPLICATIONS_PER_SECOND
    root = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}
    # -P: the folder that we are called from may be a stranger's, and nothing is imported from it.
    command = [sys.executable, "-P", "-m", "glow_deploy.engines.trial_child", str(int(seconds)), runtime, plugin]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{source}: {name} did not come to an end with it in a test process ({seconds:.0f} s): {instead}"
        ) from None
    except OSError as error:
        raise EngineError(f"{source}: the test process could not be started ({error.strerror or error})") from error
    last = done.stdout.rstrip().splitlines()[-1:]
    if done.returncode == 0 and last == [PASSED]:
        return
    if last == [OUT_OF_MEMORY]:
        raise EngineError(f"{source}: made {name} ask for too much memory in a test process: {instead}")
    raise EngineError(f"{source}: the graph made {name} crash in a test process ({_how(done)}): {instead}")


def _how(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        import signal

        try:
            return signal.Signals(-done.returncode).name
        except ValueError:
            return f"signal {-done.returncode}"
    words = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"exit status {done.returncode}" + (f", {one_line(words[-1], longest=200)}" if words else "")
