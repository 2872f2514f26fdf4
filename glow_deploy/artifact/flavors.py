"""The kinds of engine that a bundle may hold, and what their files are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

from glow_deploy.arguments import as_choice
from glow_deploy.printable import shown

from .manifest import DECODER, ENCODER

__all__ = [
    "BACKEND_FLAVORS",
    "FLAVORS",
    "GRAPH_BACKENDS",
    "GROUP",
    "LABELS",
    "OPENVINO",
    "PLANS",
    "SUFFIXES",
    "WEB",
    "Flavor",
    "GraphBackend",
    "OpenVinoName",
    "PairFlavor",
    "WebName",
    "as_flavor",
    "engine_files",
    "entry_points",
    "graph_backend",
    "installed_backends",
]

Flavor = Literal["tensorrt", "rtx"]
"""Standard TensorRT, or TensorRT for RTX."""

OpenVinoName = Literal["openvino-cpu", "openvino-gpu", "openvino-npu", "openvino-cpu-default"]
"""OpenVINO in float32 on one of its devices, or on the CPU in whatever it takes by itself."""

OPENVINO: tuple[OpenVinoName, ...] = get_args(OpenVinoName)

WebName = Literal["onnxruntime-web", "onnxruntime-web-node"]
"""onnxruntime-web in headless Chromium, or in Node."""

WEB: tuple[WebName, ...] = get_args(WebName)

GRAPH_BACKENDS: tuple[str, ...] = (*OPENVINO, *WEB)
"""What runs ONNX graphs besides ONNX Runtime, and only where it is named."""

GraphBackend = str
"""What runs an ONNX graph: `auto` for ONNX Runtime, one of `GRAPH_BACKENDS`, or one of `installed_backends`."""

PairFlavor = str
"""Which engines of a bundle: one of `FLAVORS`, or one of `installed_backends`."""

FLAVORS: tuple[str, ...] = ("onnx", "tensorrt", "rtx", *GRAPH_BACKENDS)
"""The ONNX graphs, in ONNX Runtime or what is named, or the plans of a TensorRT flavour."""

GROUP = "glow_deploy.engines"
"""The group of entry points by which installed packages bring backends of their own."""

_OWN = (
    *("auto", "simulated", "outputs", "pytorch-fp64", "pytorch-fp32"),
    *("onnxruntime", "onnxruntime-cpu", "onnxruntime-cuda", "openvino"),
)
_LONGEST = 40  # letters of a name
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

LABELS: Mapping[Flavor, str] = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}

BACKEND_FLAVORS: Mapping[str, Flavor] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
"""The flavour that a backend runs, by the name of the backend; other backends run no plans."""

SUFFIXES: Mapping[str, str] = {
    "onnx": ".onnx",
    "tensorrt": ".trt",
    "rtx": ".rtx.trt",
    **dict.fromkeys(GRAPH_BACKENDS, ".onnx"),
}


def engine_files(flavor: PairFlavor) -> tuple[str, str]:
    """File names of a bundle's encoder and decoder of a flavour."""
    suffix = SUFFIXES.get(flavor, ".onnx")  # what a package brings runs the graphs
    encoder, decoder = (str(Path(graph).with_suffix(suffix)) for graph in (ENCODER, DECODER))
    return encoder, decoder


def graph_backend(flavor: str) -> GraphBackend:
    """What opens the ONNX graphs of a flavour, or of a backend of that name; plans tell their own runtime."""
    if flavor in GRAPH_BACKENDS:
        return flavor
    ours = flavor in FLAVORS or flavor in _OWN or flavor in BACKEND_FLAVORS
    return flavor if not ours and flavor in installed_backends() else "auto"


def as_flavor(name: str, value: object) -> str:
    """Take a flavour: one of `FLAVORS`, or what a package brings.

    Raises:
        UsageError: it is neither.
    """
    return str(value) if value in FLAVORS else as_choice(name, value, (*FLAVORS, *installed_backends()))


def installed_backends() -> tuple[str, ...]:
    """The names of the backends that installed packages bring, in order. Nothing of theirs is imported.

    A name that no backend may have is left out. Which of two of one name is meant is asked when one is opened.
    """
    return tuple(name for name in entry_points() if _free(name))


def entry_points() -> dict[str, tuple[metadata.EntryPoint, str, str]]:
    """The entry points of the group by name, each with words that say whose it is, and what is wrong with its name.

    What is wrong is empty for a sound one. It is told where that backend is asked for, and keeps no other from work.
    """
    found: dict[str, tuple[metadata.EntryPoint, str, str]] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        place = f"{shown(point.name)} of {point.dist.name if point.dist is not None else 'an unknown package'}"
        fault = ""
        if point.name in found:
            first = found[point.name][1]
            place, fault = first, f"two backends are called {point.name}: {first} and {place}; uninstall one of them"
        elif point.name in _ours():
            fault = (
                f"two backends are called {point.name}: that of glow-deploy itself and {place}; uninstall the package"
            )
        elif not _free(point.name):
            fault = (
                f"the backend {place} has no name of small letters, digits and hyphens: report it to its authors, or "
                "uninstall it"
            )
        found[point.name] = (point, place, fault)
    return found


def _ours() -> frozenset[str]:
    return frozenset({*FLAVORS, *BACKEND_FLAVORS, *_OWN})


def _free(name: str) -> bool:
    """Tell whether a package may give this name to its backend."""
    return name not in _ours() and len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


PLANS = (*engine_files("tensorrt"), *engine_files("rtx"))
"""Every plan that a bundle may hold."""
