"""Glow (Kingma & Dhariwal 2018) in PyTorch: the model, its checkpoints and its training.

Torch is imported when the model is first touched, so that `glow_core.errors` and `glow_core.config` stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import GlowConfig
from .errors import GlowCoreError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
    from .model import Glow

__all__ = [
    "Checkpoint",
    "Glow",
    "GlowConfig",
    "GlowCoreError",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> object:
    if name == "Glow":
        from .model import Glow

        return Glow
    if name in ("Checkpoint", "load_checkpoint", "read_checkpoint", "save_checkpoint"):
        from . import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
