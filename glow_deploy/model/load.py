"""Opening a bundle to be used."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from glow_deploy.arguments import as_choice, as_path
from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.flavors import BACKEND_FLAVORS, GRAPH_BACKENDS, PairFlavor, graph_backend, installed_backends
from glow_deploy.engines.device import parse_device
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import UsageError
from glow_deploy.signing import Trust, check_signature

from .deployed import DeployedGlow

__all__ = ["ModelBackend", "load"]

ModelBackend = str
_BACKENDS = ("auto", "onnxruntime-cpu", "onnxruntime-cuda", *GRAPH_BACKENDS, "tensorrt", "tensorrt-rtx")


def load(
    bundle: Bundle | str | Path,
    *,
    backend: ModelBackend = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
    public_key: str | Path | None = None,
    certificate_root: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
) -> DeployedGlow:
    """Open a bundle: the way from Python to a deployed model. Needs no torch.

    Args:
        bundle: the folder that `export` wrote, or the `Bundle` that it returned.
        backend: what runs it. `auto` is ONNX Runtime, on CUDA where that works. The others are the names that `verify`
            uses, those of installed packages among them; one that is not usable here is an error.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads for ONNX Runtime or OpenVINO, 1 or more; None leaves the choice to it.
        trust_engine: run TensorRT plans without a matching sidecar. A plan is executable code.
        public_key: whose signature the bundle must have: that of the holder of this key, a PEM file. Every file that is
            loaded is held to what was signed, `trust_engine` or not.
        certificate_root: likewise, of a holder of a certificate below this one.
        identity: likewise, of this Sigstore identity.
        issuer: who vouched for the identity.

    Returns:
        The model. Use it in a `with` block, or close it.

    Raises:
        BundleError: no bundle, or a damaged one.
        SignatureError: the bundle is not signed as asked for, or is not as it was signed.
        EngineError: the backend refuses an engine, or the bundle has no plan for it.
        MissingDependencyError: a package, driver or device is not there.
        UsageError: no such backend or device, one that cannot run on the other, or another argument of the wrong kind.

    Examples:
        >>> import glow_deploy
        >>> with glow_deploy.load(bundle) as model:
        ...     pictures = model.sample(4)
        >>> pictures
        Pictures(4 of 3x8x8)
        >>> pictures.pixels.shape
        (4, 8, 8, 3)
    """
    chosen = backend
    if backend not in _BACKENDS:
        chosen = as_choice("backend", backend, (*_BACKENDS, *installed_backends()))
    where = _device(chosen, device)
    folder = bundle.path if isinstance(bundle, Bundle) else as_path("bundle", bundle)
    trust = Trust.of(public_key=public_key, certificate_root=certificate_root, identity=identity, issuer=issuer)
    signed = None if trust is None else check_signature(folder, trust).signed

    def enter(opened: Bundle) -> DeployedGlow:
        with ExitStack() as stack:
            pair = open_pair(
                folder,
                flavor=_flavor(chosen),
                device=where,
                threads=threads,
                trust_engine=trust_engine,
                signed=signed,
            )
            encoder, decoder = stack.enter_context(pair)
            opened.check_unchanged()
            return DeployedGlow(opened, encoder, decoder, close=stack.pop_all().close)

    return while_unchanged(folder, enter, signed=signed)


def _flavor(backend: str) -> PairFlavor:
    runtime = graph_backend(backend)
    return BACKEND_FLAVORS.get(backend, "onnx") if runtime == "auto" else runtime


def _device(backend: str, device: str) -> str:
    """The device that a backend implies."""
    wanted = parse_device(device)
    if backend == "auto" or graph_backend(backend) != "auto":  # held against the name where they are opened
        return str(wanted)
    if backend == "onnxruntime-cpu":
        if wanted.kind == "cuda":
            raise UsageError(f'backend="onnxruntime-cpu" runs on the CPU, not on {wanted}')
        return "cpu"
    if wanted.kind == "cpu":
        raise UsageError(f'backend="{backend}" needs a GPU, and device="cpu" asks for the CPU')
    return "cuda" if wanted.kind == "auto" else str(wanted)
