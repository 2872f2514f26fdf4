"""The kinds of engine that a bundle may hold, and what their files are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .manifest import DECODER, ENCODER

__all__ = ["BACKEND_FLAVORS", "LABELS", "PLANS", "SUFFIXES", "Flavor", "PairFlavor", "engine_files"]

Flavor = Literal["tensorrt", "rtx"]
"""Standard TensorRT, or TensorRT for RTX."""

PairFlavor = Literal["onnx", "tensorrt", "rtx"]
"""Which engines of a bundle: the ONNX graphs, or the plans of a TensorRT flavour."""

LABELS: Mapping[Flavor, str] = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}

BACKEND_FLAVORS: Mapping[str, Flavor] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
"""The flavour that a backend runs, by the name of the backend; other backends run no plans."""

SUFFIXES: Mapping[PairFlavor, str] = {"onnx": ".onnx", "tensorrt": ".trt", "rtx": ".rtx.trt"}


def engine_files(flavor: PairFlavor) -> tuple[str, str]:
    """File names of a bundle's encoder and decoder of a flavour."""
    encoder, decoder = (str(Path(graph).with_suffix(SUFFIXES[flavor])) for graph in (ENCODER, DECODER))
    return encoder, decoder


PLANS = (*engine_files("tensorrt"), *engine_files("rtx"))
"""Every plan that a bundle may hold."""
