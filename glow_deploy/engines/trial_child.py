"""What the test process of `trial` runs: one graph, from stdin, opened and run once under limits.

Started as `python -m glow_deploy.engines.trial_child SECONDS RUNTIME [NAME]`, RUNTIME being onnxruntime, openvino or
plugin, and NAME that of the backend that a package brings. Its last line on stdout says how it ended.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.runtime import import_onnxruntime

from .plugin import EnginePlugin, find_plugin
from .trial import OUT_OF_MEMORY, PASSED, PLUGIN

__all__ = ["main"]

_MEMORY = 4 << 30  # bytes beyond what Python and the runtime take themselves
_PER_BYTE = 8  # and for each byte of the file: the weights, copies of them, constants made of them


def main(seconds: int, runtime: str, name: str = "") -> int:
    """Try the graph on stdin; returns the exit code."""
    data = sys.stdin.buffer.read()
    run: Callable[[bytes], None]
    if runtime == "onnxruntime":
        run = partial(_run, import_onnxruntime())
    elif runtime == "openvino":
        run = partial(_run_openvino, importlib.import_module("openvino"))
    else:
        run = partial(_run_plugin, find_plugin(name))
    _limit(_MEMORY + _PER_BYTE * len(data), seconds, reserving=runtime == PLUGIN)
    answer = PASSED
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run(data)
    except MemoryError:
        answer = OUT_OF_MEMORY
    except Exception as error:  # its exceptions share no base class; what it refuses in good order does no harm
        words = str(error).lower()
        if "bad_alloc" in words or "bad allocation" in words or "failed to allocate memory" in words:
            answer = OUT_OF_MEMORY
    sys.stdout.buffer.write(b"\n" + answer + b"\n")
    return 0


def _run(onnxruntime: Any, data: bytes) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    feeds = {}
    for value in session.get_inputs():
        dtype = np.int64 if value.type == "tensor(int64)" else np.float32
        feeds[value.name] = np.zeros([dim if isinstance(dim, int) else 1 for dim in value.shape], dtype)
    session.run(None, feeds)


def _run_openvino(openvino: Any, data: bytes) -> None:
    core = openvino.Core()
    model = core.read_model(data)
    request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    feeds = {}
    for value in model.inputs:
        shape = [dim.get_length() if dim.is_static else 1 for dim in value.get_partial_shape()]
        feeds[value.any_name] = np.zeros(shape, value.element_type.to_dtype())
    request.infer(feeds)


def _run_plugin(plugin: EnginePlugin, data: bytes) -> None:
    graph = read_graph(data, source="the graph")
    with plugin.open(data, graph=graph, source="the graph", threads=None) as engine:
        engine.run({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in graph.inputs})


def _limit(memory: int, seconds: int, *, reserving: bool = False) -> None:
    """Limit what this process may take from here on, as far as the system knows such limits.

    A runtime of a GPU sets far more addresses aside than it uses. With `reserving` only memory to write to counts.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: seconds * 4}
    pages = Path("/proc/self/statm")
    if pages.exists():
        kind, field = (resource.RLIMIT_DATA, 5) if reserving else (resource.RLIMIT_AS, 0)
        taken = int(pages.read_text(encoding="ascii").split()[field]) * resource.getpagesize()
        limits[kind] = taken + memory
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:4]))
