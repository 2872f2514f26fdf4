"""Backends behind one protocol: ONNX Runtime, TensorRT (both flavours) and the PyTorch reference."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glow_deploy.protocol import Engine, EngineDetails, Role, TensorSpec

if TYPE_CHECKING:
    from glow_deploy.artifact.graph_file import GraphFile

    from .base import EngineBase
    from .open import open_engine
    from .plugin import EnginePlugin

__all__ = ["Engine", "EngineBase", "EngineDetails", "EnginePlugin", "GraphFile", "Role", "TensorSpec", "open_engine"]

_LATER = {
    "EngineBase": "glow_deploy.engines.base",
    "EnginePlugin": "glow_deploy.engines.plugin",
    "GraphFile": "glow_deploy.artifact.graph_file",
    "open_engine": "glow_deploy.engines.open",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
