"""Backends behind one protocol: ONNX Runtime, TensorRT (both flavours) and the PyTorch reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glow_deploy.protocol import Engine, EngineDetails, Role, TensorSpec

if TYPE_CHECKING:
    from .open import open_engine

__all__ = ["Engine", "EngineDetails", "Role", "TensorSpec", "open_engine"]


def __getattr__(name: str) -> Any:
    if name == "open_engine":
        from .open import open_engine

        return open_engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
