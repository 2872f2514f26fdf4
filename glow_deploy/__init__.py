"""From a trained Glow to verified ONNX graphs and TensorRT plans, and running them.

Nothing heavy is imported until it is used, and torch never by anything that only runs engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .errors import GlowDeployError

if TYPE_CHECKING:
    from .compile import compile_bundle as compile
    from .engines.open import open_engine
    from .export import export
    from .latents import sample
    from .verify import verify

__all__ = ["GlowDeployError", "__version__", "compile", "export", "open_engine", "sample", "verify"]


def __getattr__(name: str) -> object:
    # Deferred so that `import glow_deploy` costs nothing (PEP 562).
    match name:
        case "compile":
            from .compile import compile_bundle

            return compile_bundle
        case "export":
            from .export import export

            return export
        case "open_engine":
            from .engines.open import open_engine

            return open_engine
        case "sample":
            from .latents import sample

            return sample
        case "verify":
            from .verify import verify

            return verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
