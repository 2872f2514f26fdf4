"""From a trained Glow to verified ONNX graphs and TensorRT plans, and running them.

    bundle = glow_deploy.export("ckpt.pt")              # needs torch; nothing else here does
    report = glow_deploy.verify(bundle, data="faces")   # report.sound, report.verdicts
    glow_deploy.compile(bundle.path, flavor="rtx")
    with glow_deploy.load(bundle.path) as model:        # encode, decode, sample, score, interpolate
        pictures = model.sample(16)
    glow_deploy.bench(bundle.path)                      # how fast it runs
    glow_deploy.inspect("file")                         # what a file is
    glow_deploy.sign(bundle.path, key="private.pem")    # who vouches for it
    glow_deploy.open_engine("encoder.onnx")             # one half alone, tensors in and out

`help(glow_deploy.load)` and the like say more. Every error that is raised on purpose is a `GlowDeployError`.
Nothing heavy is imported until it is used, and torch never by anything that only runs engines.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__ as __version__

# At once and not on demand: the first import of a package of the same name would put the package in the function's
# place. All of them are light.
from .bench import bench as bench
from .compile import compile as compile
from .errors import BundleError as BundleError
from .errors import CheckpointError as CheckpointError
from .errors import CompileError as CompileError
from .errors import DataError as DataError
from .errors import EngineError as EngineError
from .errors import GlowDeployError as GlowDeployError
from .errors import MissingDependencyError as MissingDependencyError
from .errors import SignatureError as SignatureError
from .errors import UnsoundModelError as UnsoundModelError
from .errors import UsageError as UsageError
from .export import export as export
from .inspect import inspect as inspect
from .verify import verify as verify

if TYPE_CHECKING:
    from .artifact.bundle import Bundle as Bundle
    from .bench.settings import BenchSettings as BenchSettings
    from .compile.settings import CompileSettings as CompileSettings
    from .engines.open import open_engine as open_engine
    from .export.settings import ExportSettings as ExportSettings
    from .latents import Latents as Latents
    from .latents import SampleSettings as SampleSettings
    from .latents import load_latents as load_latents
    from .latents import sample as sample
    from .latents import save_latents as save_latents
    from .model import DeployedGlow as DeployedGlow
    from .model import Pictures as Pictures
    from .model import load as load
    from .scoring import Scores as Scores
    from .signing import sign as sign
    from .verify.report.verification import VerifyReport as VerifyReport
    from .verify.settings import VerifySettings as VerifySettings

# No `__all__`: with it, `help(glow_deploy)` prints every class in full. A name imported as itself is public all the
# same, for type checkers too.
_AT_ONCE = (
    "BundleError",
    "CheckpointError",
    "CompileError",
    "DataError",
    "EngineError",
    "GlowDeployError",
    "MissingDependencyError",
    "SignatureError",
    "UnsoundModelError",
    "UsageError",
    "__version__",
    "bench",
    "compile",
    "export",
    "inspect",
    "verify",
)
_LATER = {
    "BenchSettings": "glow_deploy.bench.settings",
    "Bundle": "glow_deploy.artifact.bundle",
    "CompileSettings": "glow_deploy.compile.settings",
    "DeployedGlow": "glow_deploy.model",
    "ExportSettings": "glow_deploy.export.settings",
    "Latents": "glow_deploy.latents",
    "Pictures": "glow_deploy.model",
    "SampleSettings": "glow_deploy.latents",
    "Scores": "glow_deploy.scoring",
    "VerifyReport": "glow_deploy.verify.report.verification",
    "VerifySettings": "glow_deploy.verify.settings",
    "load": "glow_deploy.model",
    "load_latents": "glow_deploy.latents",
    "open_engine": "glow_deploy.engines.open",
    "sample": "glow_deploy.latents",
    "save_latents": "glow_deploy.latents",
    "sign": "glow_deploy.signing",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_AT_ONCE, *_LATER, "__doc__"])
