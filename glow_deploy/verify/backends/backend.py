"""Which backends can run this bundle here, opened; and for the others, why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glow_deploy.artifact.flavors import (
    BACKEND_FLAVORS,
    GRAPH_BACKENDS,
    engine_files,
    graph_backend,
    installed_backends,
)
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import BundleError, EngineError, MissingDependencyError, UsageError
from glow_deploy.kserve.address import is_remote, parse_remote
from glow_deploy.latents.specs import conditional, latent_specs
from glow_deploy.protocol import Engine
from glow_deploy.spelling import on_command_line
from glow_deploy.verify.report.verification import BackendReport

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle

__all__ = [
    "BACKENDS",
    "KNOWN",
    "REFERENCE",
    "SIMULATED",
    "YARDSTICK",
    "Backend",
    "BackendSet",
    "Encoded",
    "known_backend",
    "open_backends",
]

REFERENCE = "pytorch-fp64"
YARDSTICK = "pytorch-fp32"
SIMULATED = "simulated"
BACKENDS = (REFERENCE, YARDSTICK, "onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx", SIMULATED)
"""Those that take part where none is named, as far as they are usable."""

KNOWN = (*BACKENDS[:-1], *GRAPH_BACKENDS, SIMULATED)
"""All of ours. `GRAPH_BACKENDS` run only where they are named, and so does what a package brings."""

_FILES = {
    "onnxruntime-cpu": engine_files("onnx"),
    "onnxruntime-cuda": engine_files("onnx"),
    **{name: engine_files(name) for name in GRAPH_BACKENDS},
    **{name: engine_files(flavor) for name, flavor in BACKEND_FLAVORS.items()},
}
# A report speaks of the command line throughout.
_OPTIONS = {name: "--" + name.replace("_", "-") for name in ("ckpt", "device", "trust_engine")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """What an encoder makes of N images: z1 ... zL as [N, C, H, W] each, and log_prob [N] in nats."""

    z: tuple[np.ndarray, ...]
    log_prob: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The two engines of one backend."""

    name: str
    encoder: Engine
    decoder: Engine

    def encode(self, x: np.ndarray, y: np.ndarray | None) -> Encoded:
        """Run the encoder on x [N, C, H, W] and labels y [N], cast to what it takes."""
        outputs = self.encoder.run(_feeds(self.encoder, {"x": x}, y))
        levels = len(latent_specs(self.encoder.outputs))
        return Encoded(z=tuple(outputs[f"z{level}"] for level in range(1, levels + 1)), log_prob=outputs["log_prob"])

    def decode(self, z: Sequence[np.ndarray], y: np.ndarray | None) -> np.ndarray:
        """Run the decoder on latents, z1 first, cast to what it takes."""
        named = {f"z{level}": part for level, part in enumerate(z, 1)}
        return self.decoder.run(_feeds(self.decoder, named, y))["x"]


@dataclass(frozen=True, kw_only=True)
class BackendSet:
    """Backends that are open, and a line about every one that is known.

    Attributes:
        matrix: those that take part in the matrix.
        reference: the trained model in float64, where there is a checkpoint; it need not be in the matrix.
        yardstick: the trained model in float32, likewise.
        reports: one for each of `BACKENDS` and of those named, in the order of `KNOWN`.
    """

    matrix: tuple[Backend, ...]
    reference: Backend | None
    yardstick: Backend | None
    reports: tuple[BackendReport, ...]


def open_backends(
    bundle: Bundle,
    *,
    stack: ExitStack,
    wanted: Sequence[str] | None = None,
    ckpt: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
    timeout: float = 60.0,
) -> BackendSet:
    """Open what can run here.

    Args:
        bundle: whose engines.
        stack: closes the engines.
        wanted: names of `KNOWN`, and servers such as `triton=localhost:8000`; None for every one of `BACKENDS` that is
            usable.
        ckpt: the checkpoint that the bundle was exported from; without it there are no PyTorch backends.
        device: `cpu` leaves the GPU backends out; `cuda:N` names the GPU. ONNX Runtime's CPU backend, PyTorch and
            OpenVINO run where their names say.
        threads: CPU threads for ONNX Runtime and OpenVINO; None leaves the choice to it.
        trust_engine: open plans without a matching sidecar.
        timeout: seconds that a server may take for one answer.

    Raises:
        UsageError: an unknown name, a PyTorch backend without a checkpoint, a checkpoint of another model, or a name
            twice.
        MissingDependencyError: a backend asked for is not usable: no package, driver, GPU, provider or plan.
        EngineError: the backend refuses the engine.
        BundleError: a file is damaged.
    """
    names = _names(wanted)
    opened: dict[str, Backend] = {}
    reasons: dict[str, str] = {}
    told = (
        *(name for name in KNOWN if name in names or name in BACKENDS),
        *(name for name in names if name not in KNOWN),
    )
    for name in told:
        hidden = ckpt is not None and name in (REFERENCE, YARDSTICK)
        if name not in names and not hidden:
            reasons[name] = "not asked for"
            continue
        try:
            opened[name] = _open(
                bundle,
                name,
                stack=stack,
                ckpt=ckpt,
                device=device,
                threads=threads,
                trust_engine=trust_engine,
                timeout=timeout,
            )
        except (MissingDependencyError, EngineError, UsageError) as error:
            if hidden or (wanted is not None and name in names):
                raise
            reasons[name] = on_command_line(str(error), _OPTIONS)
    matrix = tuple(opened[name] for name in told if name in opened and name in names)
    if not matrix:
        # Only where none was named. The one that needs least says what to do first.
        raise MissingDependencyError(
            f"no backend can run {bundle.path} here: {reasons['onnxruntime-cpu']}; "
            "`glow-deploy doctor` tells of the others"
        )
    for backend in matrix:
        _check_signature(backend, bundle.manifest.model, precision=bundle.manifest.precision)
    return BackendSet(
        matrix=matrix,
        reference=opened.get(REFERENCE),
        yardstick=opened.get(YARDSTICK),
        reports=tuple(
            _report(name, opened.get(name) if name in names else None, reasons.get(name, "not asked for"))
            for name in told
        ),
    )


def _names(wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return BACKENDS
    if not wanted:
        raise UsageError("no backend is named; leave the list out for every one that is usable")
    for name in wanted:
        if not known_backend(name):
            raise UsageError(
                f"there is no backend {name!r}; choose from {', '.join((*KNOWN, *installed_backends()))}, or name a "
                "server: triton=HOST:PORT"
            )
        if list(wanted).count(name) > 1:
            raise UsageError(f"backend {name} is named twice")
    return tuple(wanted)


def known_backend(name: str) -> bool:
    """Tell whether a name is a backend's: one of `KNOWN`, a server's, or what an installed package brings.

    Raises:
        UsageError: it is a server's, and names none.
    """
    if is_remote(name):
        return bool(parse_remote(name))
    return name in KNOWN or name in installed_backends()


def _open(
    bundle: Bundle,
    name: str,
    *,
    stack: ExitStack,
    ckpt: Path | None,
    device: str,
    threads: int | None,
    trust_engine: bool,
    timeout: float,
) -> Backend:
    if is_remote(name):
        return _open_remote(bundle, name, stack=stack, timeout=timeout)
    if name in (REFERENCE, YARDSTICK):
        if ckpt is None:
            raise UsageError(f"{name} needs the checkpoint that the bundle was exported from: give ckpt=")
        return _open_pytorch(bundle, name, stack=stack, ckpt=ckpt)
    if name == SIMULATED:
        return _open_simulated(bundle, stack=stack)
    from glow_deploy.engines.open import open_engine

    paths = [bundle.path / file for file in _FILES.get(name, engine_files("onnx"))]
    if name in BACKEND_FLAVORS:
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise MissingDependencyError(
                f"{' and '.join(missing)} not in {bundle.path}: compile with "
                f"`glow-deploy compile {bundle.path} --flavor {BACKEND_FLAVORS[name]}`"
            )
    else:
        for path in paths:
            bundle.file(path.name)  # checks its sha256
    if name == "onnxruntime-cpu":
        where = "cpu"
    elif graph_backend(name) != "auto":
        where = "auto"  # its name says where
    elif device == "cpu":
        raise UsageError(f"{name} needs a GPU and the device asked for is the CPU")
    else:
        where = device if device.startswith("cuda") else "cuda"
    encoder, decoder = (
        stack.enter_context(
            open_engine(
                path,
                backend=graph_backend(name),
                device=where,
                threads=threads,
                trust_engine=trust_engine,
                signed=bundle.signed,
            )
        )
        for path in paths
    )
    bundle.check_unchanged()  # both were read again, and held to the manifest that lay there then
    return Backend(name=name, encoder=encoder, decoder=decoder)


def _open_remote(bundle: Bundle, name: str, *, stack: ExitStack, timeout: float) -> Backend:
    from glow_deploy.engines.exact import like_others
    from glow_deploy.engines.remote import open_remote
    from glow_deploy.kserve.client import KServeClient

    address = parse_remote(name)
    client = stack.enter_context(KServeClient(address, timeout=timeout))
    encoder = open_remote(bundle, address, client=client, backend=name, role="encoder")
    decoder = open_remote(bundle, address, client=client, backend=name, role="decoder")
    return Backend(name=name, encoder=like_others(encoder), decoder=like_others(decoder))


def _open_pytorch(bundle: Bundle, name: str, *, stack: ExitStack, ckpt: Path) -> Backend:
    from glow_deploy.engines.pytorch import open_pytorch
    from glow_deploy.engines.trained import Trained

    precision: Literal["fp64", "fp32"] = "fp64" if name == REFERENCE else "fp32"
    encoder, decoder = open_pytorch(Trained.of(bundle, ckpt), precision=precision, device="cpu")
    return Backend(name=name, encoder=stack.enter_context(encoder), decoder=stack.enter_context(decoder))


def _open_simulated(bundle: Bundle, *, stack: ExitStack) -> Backend:
    """Graphs that hold 16-bit parts, rounded on the CPU as narrow hardware would."""
    from glow_deploy.artifact.manifest import DECODER, ENCODER
    from glow_deploy.precision.simulate import open_simulated

    if bundle.manifest.precision in ("fp32", EXACT):
        if bundle.manifest.precision == EXACT:
            raise MissingDependencyError("exact graphs are not simulated: their integers are the same or they are not")
        raise MissingDependencyError("float32 graphs need no simulation: nothing in them is rounded")
    encoder, decoder = open_simulated({"encoder": bundle.graph(ENCODER), "decoder": bundle.graph(DECODER)})
    return Backend(name=SIMULATED, encoder=stack.enter_context(encoder), decoder=stack.enter_context(decoder))


def _check_signature(backend: Backend, model: Mapping[str, Any], *, precision: str) -> None:
    """Both engines must be of the right role and precision, and speak of the same latents, the bundle's model's."""
    for role, engine in (("encoder", backend.encoder), ("decoder", backend.decoder)):
        stated = engine.details.precision
        if backend.name not in (REFERENCE, YARDSTICK, SIMULATED) and stated != precision:
            raise BundleError(
                f"{backend.name}: the {role} is of precision {stated}, the manifest says {precision}; export again"
            )
        if engine.role != role:
            raise BundleError(f"{backend.name}: the {role} is really the {engine.role}; export the bundle again")
    written = [(spec.name, spec.shape) for spec in latent_specs(backend.encoder.outputs)]
    read = [(spec.name, spec.shape) for spec in latent_specs(backend.decoder.inputs)]
    if written != read:
        raise BundleError(
            f"{backend.name}: the encoder gives {_shapes(written)} and the decoder takes {_shapes(read)}; they are "
            "of different models"
        )
    height, width = model["image_size"]
    wanted = (int(model["channels"]), int(height), int(width))
    shape = next(spec.shape for spec in backend.encoder.inputs if spec.name == "x")
    if shape != wanted or len(written) != int(model["levels"]):
        raise BundleError(
            f"{backend.name} takes images {shape} and gives {len(written)} latents; the bundle's model takes {wanted} "
            f"and gives {model['levels']}: is this the checkpoint or engine of another model?"
        )


def _shapes(latents: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in latents)


def _feeds(engine: Engine, arrays: Mapping[str, np.ndarray], y: np.ndarray | None) -> dict[str, np.ndarray]:
    dtypes = {spec.name: np.dtype(spec.dtype) for spec in engine.inputs}
    # A float64 latent beyond the range of float32 becomes infinite, which the measures count.
    with np.errstate(over="ignore"):
        feeds = {name: np.asarray(array).astype(dtypes[name], copy=False) for name, array in arrays.items()}
    if conditional(engine):
        if y is None:
            raise UsageError("this model is class-conditional, and these images have no labels")
        feeds["y"] = np.asarray(y).astype(np.int64, copy=False)
    return feeds


def _report(name: str, backend: Backend | None, reason: str) -> BackendReport:
    if backend is None:
        return BackendReport(name=name, reason=reason)
    return BackendReport(name=name, encoder=_details(backend.encoder), decoder=_details(backend.decoder))


def _details(engine: Engine) -> dict[str, Any]:
    details = engine.details
    return {
        "provider": details.provider,
        "device": details.device,
        "precision": details.precision,
        "tf32": details.tf32,
        "versions": dict(details.versions),
        "max_batch": details.max_batch,
    }
