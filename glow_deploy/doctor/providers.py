"""Which ONNX Runtime providers really work here: each one is tried with a session."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glow_deploy.printable import one_line
from glow_deploy.runtime import import_onnxruntime

__all__ = ["Provider", "examine_providers"]

_LONGEST = 160  # characters of a reason, which stands in a table

_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+?\.so[\d.]*): cannot open shared object file")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One ONNX Runtime provider, tried with a real session.

    Attributes:
        name: e.g. `CUDAExecutionProvider`.
        usable: a session was made on it and gave the right answer.
        detail: the reason if it is not usable.
        tf32: the provider's own setting after it was asked to turn TF32 off, where it has one.
    """

    name: str
    usable: bool
    detail: str = ""
    tf32: bool | None = None


def examine_providers() -> tuple[Provider, ...]:
    """Try every provider ONNX Runtime lists with a session of one matrix product, falling back forbidden.

    The list alone means nothing: a GPU build names CUDA and TensorRT on machines that have neither.
    """
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        return (Provider(name="onnxruntime", usable=False, detail=one_line(error, longest=_LONGEST)),)
    return tuple(_examine(onnxruntime, name) for name in onnxruntime.get_available_providers())


def _examine(runtime: Any, name: str) -> Provider:
    words: list[str] = []
    try:
        with _captured_stderr(words), contextlib.redirect_stdout(io.StringIO()):
            tf32 = _run_session(runtime, name)
    except Exception as error:  # ONNX Runtime's exceptions share no base class narrower than this
        library = _MISSING_LIBRARY.search("".join(words) + str(error))
        detail = f"{library.group(1)} is not found" if library else one_line(error, longest=_LONGEST)
        return Provider(name=name, usable=False, detail=detail)
    return Provider(name=name, usable=True, tf32=tf32)


def _run_session(runtime: Any, name: str) -> bool | None:
    """Run a matrix product on one provider and return its TF32 setting, if it has one."""
    import numpy as np

    options = runtime.SessionOptions()
    provider: Any = name
    if name != "CPUExecutionProvider":
        # Without this entry a provider that fails to load leaves a silent CPU session.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()
    if name == "CUDAExecutionProvider":
        provider = (name, {"use_tf32": "0"})
    session = runtime.InferenceSession(_product(), options, providers=[provider], enable_fallback=0)
    used = session.get_providers()[0]
    if used != name:
        raise RuntimeError(f"the session ran on {used} instead")
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    (y,) = session.run(None, {"x": x})
    if not np.array_equal(y, x @ x):
        raise RuntimeError("the session gave a wrong matrix product")
    settings = session.get_provider_options().get(name, {})
    return settings["use_tf32"] != "0" if "use_tf32" in settings else None


def _product() -> bytes:
    """A graph of one node, y = x x, as the bytes of an ONNX file."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


@contextlib.contextmanager
def _captured_stderr(words: list[str]) -> Iterator[None]:
    """Collect what native code writes to file descriptor 2: ONNX Runtime names the missing library only there."""
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing can be written there, and nothing captured
        yield
        return
    with tempfile.TemporaryFile() as store:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(store.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            store.seek(0)
            words.append(store.read().decode("utf-8", "replace"))
