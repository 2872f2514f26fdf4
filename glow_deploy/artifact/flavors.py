"""The kinds of engine that a bundle may hold, and what their files are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from .manifest import DECODER, ENCODER

__all__ = [
    "BACKEND_FLAVORS",
    "LABELS",
    "OPENVINO",
    "PLANS",
    "SUFFIXES",
    "Flavor",
    "GraphBackend",
    "OpenVinoName",
    "PairFlavor",
    "engine_files",
    "graph_backend",
]

Flavor = Literal["tensorrt", "rtx"]
"""Standard TensorRT, or TensorRT for RTX."""

OpenVinoName = Literal["openvino-cpu", "openvino-gpu", "openvino-npu", "openvino-cpu-default"]
"""OpenVINO in float32 on one of its devices, or on the CPU in whatever it takes by itself."""

OPENVINO: tuple[OpenVinoName, ...] = get_args(OpenVinoName)

GraphBackend = Literal["auto", OpenVinoName]
"""What runs an ONNX graph: ONNX Runtime, or OpenVINO."""

PairFlavor = Literal["onnx", "tensorrt", "rtx", OpenVinoName]
"""Which engines of a bundle: the ONNX graphs, in ONNX Runtime or OpenVINO, or the plans of a TensorRT flavour."""

LABELS: Mapping[Flavor, str] = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}

BACKEND_FLAVORS: Mapping[str, Flavor] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
"""The flavour that a backend runs, by the name of the backend; other backends run no plans."""

SUFFIXES: Mapping[PairFlavor, str] = {
    "onnx": ".onnx",
    "tensorrt": ".trt",
    "rtx": ".rtx.trt",
    **dict.fromkeys(OPENVINO, ".onnx"),
}


def engine_files(flavor: PairFlavor) -> tuple[str, str]:
    """File names of a bundle's encoder and decoder of a flavour."""
    encoder, decoder = (str(Path(graph).with_suffix(SUFFIXES[flavor])) for graph in (ENCODER, DECODER))
    return encoder, decoder


def graph_backend(flavor: str) -> GraphBackend:
    """What opens the ONNX graphs of a flavour, or of a backend of that name; plans tell their own runtime."""
    return next((name for name in OPENVINO if name == flavor), "auto")


PLANS = (*engine_files("tensorrt"), *engine_files("rtx"))
"""Every plan that a bundle may hold."""
