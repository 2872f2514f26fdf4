"""Glow (Kingma & Dhariwal 2018) in PyTorch: the model, its checkpoints and its training.

Torch is imported when the model is first touched, so that `glow_core.errors` and `glow_core.config` stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import GlowConfig
from .errors import GlowCoreError
from .import_options import ImportOptions

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, save_checkpoint
    from .model import Glow
    from .readers import load_checkpoint, read_checkpoint

__all__ = [
    "Checkpoint",
    "Glow",
    "GlowConfig",
    "GlowCoreError",
    "ImportOptions",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> object:
    if name == "Glow":
        from .model import Glow

        return Glow
    if name in ("Checkpoint", "save_checkpoint"):
        from . import checkpoint

        return getattr(checkpoint, name)
    if name in ("load_checkpoint", "read_checkpoint"):
        from . import readers

        return getattr(readers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
