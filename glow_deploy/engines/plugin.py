"""Backends that other packages bring: entry points of the group `glow_deploy.engines`.

    [project.entry-points."glow_deploy.engines"]
    my-runtime = "my_package.backend:BACKEND"

The name of the entry point is the name of the backend. A package is imported only when its backend is asked for.
OpenVINO and onnxruntime-web are opened through the same door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from glow_deploy.artifact.flavors import GRAPH_BACKENDS, OPENVINO, WEB, entry_points, installed_backends
from glow_deploy.artifact.graph_file import GraphFile
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import EngineError, GlowDeployError, UsageError
from glow_deploy.printable import one_line
from glow_deploy.protocol import Engine, EngineDetails

from .aside import Aside
from .base import EngineBase

__all__ = ["EnginePlugin", "OpenGraph", "find_plugin"]

# Whatever a foreign package raises, sys.exit() included: a command that did nothing must not end as if it had.
_FAULTS = (Exception, SystemExit)

_ASIDE = Aside()  # one for the process, as its stdout is


class OpenGraph(Protocol):
    """What opens a graph: see `EnginePlugin`."""

    def __call__(self, model: bytes, *, graph: GraphFile, source: str, threads: int | None) -> Engine:
        """Open the bytes of a graph."""
        ...


@dataclass(frozen=True, kw_only=True)
class EnginePlugin:
    """A backend for ONNX graphs.

    Attributes:
        open: opens the bytes of an encoder or a decoder that has been looked over, and returns an engine; best a
            subclass of `EngineBase`. `graph` says what the file is: role, inputs, outputs. `source` is its name for
            messages, and `threads` the number of CPU threads that was asked for, None for any. It raises a
            `MissingDependencyError` where a package or a device is not there, and an `EngineError` where the runtime
            refuses the graph.
    """

    open: OpenGraph


def find_plugin(name: str) -> EnginePlugin:
    """Find the backend of a name: one of ours, or one that a package brings, its faults told as its own.

    Raises:
        UsageError: there is none of that name.
        EngineError: what the package brings cannot be loaded, two have that name, or no backend may have it.
    """
    if name in OPENVINO:
        from .openvino import OpenVinoEngine

        return EnginePlugin(open=partial(OpenVinoEngine, backend=name))
    if name in WEB:
        from .web import WebRuntimeEngine

        return EnginePlugin(open=partial(WebRuntimeEngine, backend=name))
    installed = entry_points()
    if name not in installed:
        known = ", ".join((*GRAPH_BACKENDS, *installed_backends()))
        raise UsageError(f"there is no backend {name!r} for ONNX graphs; those installed here are {known}")
    point, place, fault = installed[name]
    if fault:
        raise EngineError(fault)
    with _blame(place, "cannot be loaded"):
        plugin = point.load()
    if not isinstance(plugin, EnginePlugin):
        raise EngineError(
            f"the backend {place} is a {type(plugin).__name__}, not a glow_deploy.engines.EnginePlugin: report it to "
            "its authors, or uninstall it"
        )
    return EnginePlugin(open=partial(_open, plugin.open, name=name, place=place))


class _Guarded(EngineBase):
    """A package's engine. What it is comes from the graph, and what it gives is looked at."""

    def __init__(self, engine: Engine, *, graph: GraphFile, details: EngineDetails, place: str) -> None:
        self._engine = engine
        self._place = place
        super().__init__(
            role=graph.facts.role,
            n_bits=graph.facts.n_bits,
            inputs=graph.inputs,
            outputs=graph.outputs,
            details=details,
            num_classes=graph.facts.num_classes,
            most_rows=min((most for most in (graph.most_rows, details.max_batch) if most is not None), default=None),
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        # Copies, both ways: a runtime may write into what it is fed, and hand out the memory of its next results.
        fed = {name: array.copy() for name, array in arrays.items()}
        with _blame(self._place, f"failed on a batch of {batch}"):
            given = dict(self._engine.run(fed))
        for spec in self._outputs:
            array = given.get(spec.name)
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype):
                kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise EngineError(
                    f"the backend {self._place} gave {kind} for {spec.name} where an array of {spec.dtype} is due: "
                    "report it to its authors"
                )
        return {spec.name: np.array(given[spec.name], order="C", subok=False) for spec in self._outputs}

    def _close(self) -> None:
        with _blame(self._place, "failed while it was closed"):
            self._engine.close()


def _open(
    open_graph: Callable[..., Any],
    model: bytes,
    *,
    graph: GraphFile,
    source: str,
    threads: int | None,
    name: str,
    place: str,
) -> Engine:
    if graph.facts.precision == EXACT:
        raise EngineError(
            f"{source} holds integers, which are exact in float32 alone, and of {name} it is not known that it "
            "computes so: run it on onnxruntime-cpu or openvino-cpu"
        )
    with _blame(place, f"failed to open {source}"):
        engine = open_graph(model, graph=graph, source=source, threads=threads)
    with ExitStack() as stack:
        stack.callback(_close, engine)
        with _blame(place, f"failed to say what runs {source}"):
            details = _details(engine.details, name=name, precision=graph.facts.precision)
        guarded = _Guarded(engine, graph=graph, details=details, place=place)
        stack.pop_all()  # it closes the engine from here on
    return guarded


def _details(given: EngineDetails, *, name: str, precision: str) -> EngineDetails:
    """Take what a package's engine says of itself, where the graph and the entry point do not know better."""
    most = given.max_batch
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError(f"max_batch is {most!r}")
    return EngineDetails(
        backend=name,
        provider=one_line(given.provider, longest=200),
        device=one_line(given.device, longest=200),
        precision=precision,
        tf32=bool(given.tf32),
        versions={one_line(key, longest=60): one_line(value, longest=60) for key, value in given.versions.items()},
        max_batch=most,
    )


def _close(engine: Any) -> None:
    """Close an engine that is given up; what it says of that is not what went wrong."""
    with suppress(*_FAULTS), _ASIDE.turned():
        engine.close()


@contextmanager
def _blame(place: str, what: str) -> Iterator[None]:
    """Name the package in whatever it raises, and keep what it prints out of stdout."""
    try:
        with _ASIDE.turned():
            yield
    except GlowDeployError:
        raise  # its own refusal
    except _FAULTS as error:
        raise EngineError(
            f"the backend {place} {what} ({_reason(error)}): report it to its authors, or uninstall it"
        ) from error


def _reason(error: BaseException) -> str:
    """One line of an error; its own words may be of any length, or fail themselves."""
    try:
        words = str(error)
    except _FAULTS:
        words = ""
    return one_line(f"{type(error).__name__}: {words}", longest=200)
