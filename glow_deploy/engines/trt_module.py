"""The two flavours of TensorRT as Python modules, side by side in one process, with their chatter kept quiet."""

from __future__ import annotations

import gc
import importlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from glow_deploy.artifact.flavors import LABELS, Flavor
from glow_deploy.errors import MissingDependencyError
from glow_deploy.printable import one_line

__all__ = ["MODULES", "LogKeeper", "collection_paused", "import_tensorrt", "keep_log"]

MODULES: dict[Flavor, str] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}


class LogKeeper(Protocol):
    """A TensorRT logger that keeps warnings and errors instead of printing them."""

    messages: deque[str]
    errors: deque[str]


def import_tensorrt(flavor: Flavor) -> Any:
    """Import the module of a flavour.

    Raises:
        MissingDependencyError: it is not installed, or its libraries cannot be loaded.
    """
    name = MODULES[flavor]
    try:
        return importlib.import_module(name)
    except Exception as error:  # a missing library surfaces as ImportError, OSError or RuntimeError
        reason = one_line(error, longest=200) or type(error).__name__
        raise MissingDependencyError(
            f"{LABELS[flavor]} cannot be imported ({reason}): pip install 'glow-deploy[{flavor}]'"
            + (" --extra-index-url https://pypi.nvidia.com." if flavor == "tensorrt" else ".")
        ) from None


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep Python's garbage collector from running inside TensorRT for a `with` block.

    TensorRT calls its logger while it holds a lock of its own. A collection that begins in the logger may free an
    older TensorRT object, whose destructor takes the same lock: the process then waits for itself for ever.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def keep_log(trt: Any) -> Any:
    """Return a logger for TensorRT objects that remembers the last warnings and errors (`LogKeeper`).

    The class is made per flavour because each module has its own `ILogger`. It must outlive the objects it serves.
    """

    class Keeper(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: deque[str] = deque(maxlen=50)
            self.errors: deque[str] = deque(maxlen=50)

        def log(self, severity: Any, message: str) -> None:
            levels = trt.ILogger.Severity
            if severity in (levels.INTERNAL_ERROR, levels.ERROR):
                self.errors.append(" ".join(message.split()))
            if severity in (levels.INTERNAL_ERROR, levels.ERROR, levels.WARNING):
                self.messages.append(" ".join(message.split()))

    return Keeper()
