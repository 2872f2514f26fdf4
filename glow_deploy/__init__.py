"""From a trained Glow to verified ONNX graphs and TensorRT plans, and running them.

    bundle = glow_deploy.export("ckpt.pt")              # needs torch; nothing else here does
    report = glow_deploy.verify(bundle, data="faces")   # report.sound, report.verdicts
    glow_deploy.compile(bundle.path, flavor="rtx")
    with glow_deploy.load(bundle.path) as model:        # encode, decode, sample, score, interpolate
        pictures = model.sample(16)

Nothing heavy is imported until it is used, and torch never by anything that only runs engines.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

# At once and not on demand: the first import of a package of the same name would put the package in the function's
# place. All three are light.
from .compile import compile_bundle as compile
from .errors import GlowDeployError
from .export import export
from .verify import verify

if TYPE_CHECKING:
    from .artifact.bundle import Bundle
    from .engines.open import open_engine
    from .latents import sample
    from .model import DeployedGlow, Pictures, load

__all__ = [
    "Bundle",
    "DeployedGlow",
    "GlowDeployError",
    "Pictures",
    "__version__",
    "compile",
    "export",
    "load",
    "open_engine",
    "sample",
    "verify",
]

_LATER = {
    "Bundle": "glow_deploy.artifact.bundle",
    "DeployedGlow": "glow_deploy.model",
    "Pictures": "glow_deploy.model",
    "load": "glow_deploy.model",
    "open_engine": "glow_deploy.engines.open",
    "sample": "glow_deploy.latents",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
