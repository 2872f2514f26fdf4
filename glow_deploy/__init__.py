"""From a trained Glow to verified ONNX graphs and TensorRT plans, and running them.

Nothing heavy is imported until it is used, and torch never by anything that only runs engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

# At once and not on demand: the first import of a package of the same name would put the package in the function's
# place. All three are light.
from .compile import compile_bundle as compile
from .errors import GlowDeployError
from .export import export
from .verify import verify

if TYPE_CHECKING:
    from glow_deploy.engines.open import open_engine

    from .latents import sample

__all__ = ["GlowDeployError", "__version__", "compile", "export", "open_engine", "sample", "verify"]


def __getattr__(name: str) -> object:
    if name == "open_engine":
        from glow_deploy.engines.open import open_engine

        return open_engine
    if name == "sample":
        from .latents import sample

        return sample
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
