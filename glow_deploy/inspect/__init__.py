"""What a file is and what is in it, told from its content alone. Nothing in the file is run.

Light to import, because `glow_deploy` itself imports it: what reads files is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.arguments import as_path

from .inspection import Inspection

if TYPE_CHECKING:
    from .file import recognise

__all__ = ["Inspection", "inspect", "inspect_file", "recognise"]


def inspect_file(path: str | Path) -> Inspection:
    """Describe a bundle, an ONNX graph, a TensorRT plan or an .npz archive; checkpoints are glow_core's business.

    Raises:
        GlowDeployError: the file is missing, damaged or of an unknown kind.
    """
    from .file import run_inspect

    return run_inspect(as_path("path", path))


inspect = inspect_file


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])


def __getattr__(name: str) -> object:
    if name == "recognise":
        from .file import recognise

        return recognise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
