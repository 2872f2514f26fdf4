"""Every error this package raises on purpose.

Each message says what is wrong, with which file or value, and what to do. The command line prints the message alone and
exits with `exit_code`; anything that is not a `GlowDeployError` is a bug of this package (exit 70).
"""

__all__ = [
    "BundleError",
    "BundleReplacedError",
    "CheckpointError",
    "CompileError",
    "DataError",
    "EngineError",
    "GlowDeployError",
    "MissingDependencyError",
    "SignatureError",
    "UnsoundModelError",
    "UsageError",
]


class GlowDeployError(Exception):
    """Root of the hierarchy: bad input, a missing file, package or piece of hardware."""

    exit_code = 2


class UsageError(GlowDeployError):
    """Options or arguments that cannot be used together, or out of range."""


class DataError(GlowDeployError):
    """Images, labels or latents that cannot be read or do not fit the model."""


class CheckpointError(GlowDeployError):
    """A checkpoint that cannot be read or does not hold the model it says."""


class BundleError(GlowDeployError):
    """A bundle, graph or golden file that is missing, damaged or not what its manifest says."""


class BundleReplacedError(BundleError):
    """A bundle that another export replaced while it was read; reading it again gives the new one."""


class SignatureError(BundleError):
    """A bundle that is not signed, is not as it was signed, or is signed by somebody who is not trusted."""


class EngineError(GlowDeployError):
    """An engine that cannot be opened or run on the device asked for."""


class CompileError(GlowDeployError):
    """A graph that TensorRT cannot turn into a plan."""


class MissingDependencyError(GlowDeployError):
    """An optional package, driver or device that the request needs is not there."""


class UnsoundModelError(GlowDeployError):
    """The model was examined and judged not to be invertible enough."""

    exit_code = 1
