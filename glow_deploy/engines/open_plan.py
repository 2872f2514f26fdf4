"""Everything that is checked before a TensorRT plan is deserialised.

A plan is executable code. It is loaded only after its header, its sidecar and its sha256 have been checked, and the GPU
and the installed TensorRT are those it was compiled for.
"""

from __future__ import annotations

from pathlib import Path

from glow_deploy.artifact.files import sha256_bytes
from glow_deploy.artifact.flavors import LABELS
from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.artifact.plan_header import PlanHeader, read_header
from glow_deploy.artifact.sidecar import Sidecar, read_sidecar
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.errors import BundleError, EngineError

from .cuda import Cuda
from .device import Device
from .tensorrt import TensorRTEngine
from .trt_module import import_tensorrt

__all__ = ["check_gpu", "check_version", "open_plan"]


def open_plan(
    path: Path,
    data: bytes,
    *,
    device: Device,
    trust_engine: bool = False,
    cuda_graphs: bool = False,
    signed: SignedFiles | None = None,
) -> TensorRTEngine:
    """Check a plan against its header and sidecar, then load it on a GPU.

    Args:
        path: where the plan lies; the sidecar is looked for beside it.
        data: its bytes.
        device: a plan runs on CUDA only; `auto` means the first GPU.
        trust_engine: run the plan without a sidecar, or with one that does not match.
        cuda_graphs: see `TensorRTEngine`.
        signed: of a signature that was checked, which must cover the sidecar and the manifest.

    Raises:
        BundleError: the plan is damaged, has no matching sidecar, or was compiled from another graph.
        EngineError: wrong version, wrong GPU, or TensorRT refuses it.
        MissingDependencyError: no GPU, driver or TensorRT package of the plan's flavour.
    """
    header = read_header(data, source=str(path))
    sidecar = read_sidecar(path, signed=signed)
    matches = sidecar is not None and sha256_bytes(data) == sidecar.sha256
    if not trust_engine:
        _require_sidecar(path, header, sidecar, matches=matches)
    facts = _facts(path, sidecar, signed)
    if not trust_engine and sidecar is not None:
        _require_same_graph(path, sidecar, facts, signed)
    if not matches:
        sidecar = None  # trusted all the same, but what it says of flags and GPUs is about another plan
    if device.kind == "cpu":
        raise EngineError(
            f'{path} is a TensorRT plan, which runs only on an NVIDIA GPU: use device="cuda" where there is one, or '
            f"the ONNX graph that it was compiled from{_beside(path)}"
        )
    trt = import_tensorrt(header.flavor)
    check_version(header, sidecar, str(trt.__version__), source=str(path))
    cuda = Cuda(device.index)
    check_gpu(header, sidecar, cuda.target, source=str(path), gpu=cuda.name)
    return TensorRTEngine(
        data,
        trt=trt,
        cuda=cuda,
        flavor=header.flavor,
        facts=facts,
        tf32=sidecar is None or sidecar.tf32,
        source=str(path),
        cuda_graphs=cuda_graphs,
    )


def check_version(header: PlanHeader, sidecar: Sidecar | None, installed: str, *, source: str) -> None:
    """Refuse a plan of another release, which TensorRT would reject with a message few understand.

    Raises:
        EngineError: the installed release cannot run the plan.
    """
    built, here = header.version.split("."), installed.split(".")
    if built[:3] == here[:3]:
        return
    if header.flavor == "tensorrt" and sidecar is not None and sidecar.version_compatible and built[0] == here[0]:
        return
    raise EngineError(
        f"{source} was compiled by {LABELS[header.flavor]} {header.version}, {installed} is installed here: "
        "compile it again, or install that version"
    )


def check_gpu(header: PlanHeader, sidecar: Sidecar | None, target: str, *, source: str, gpu: str) -> None:
    """Refuse a plan that was not compiled for this GPU.

    Args:
        header: of the plan.
        sidecar: of the plan, if it has one.
        target: this GPU's compute capability, `sm89`.
        source: the plan's name, for messages.
        gpu: the GPU's name, for messages.

    Raises:
        EngineError: the GPU is not among the plan's targets.
    """
    targets = header.targets or (sidecar.gpus if sidecar is not None else ())
    if not targets or target in targets:
        return
    ampere_or_newer = int(target[2:]) >= 80
    if header.flavor == "tensorrt" and sidecar is not None and sidecar.hardware_compatible and ampere_or_newer:
        return
    message = f"{source} was compiled for {', '.join(targets)}; {gpu} is {target}"
    if header.flavor == "rtx" and target in ("sm90", "sm100", "sm103"):
        raise EngineError(
            f"{message}, which TensorRT for RTX does not support: run `glow-deploy compile BUNDLE --flavor tensorrt`"
        )
    advice = f"run `glow-deploy compile BUNDLE --gpu {target}`" if header.flavor == "rtx" else "compile it on this GPU"
    raise EngineError(f"{message}: {advice}")


def _require_sidecar(path: Path, header: PlanHeader, sidecar: Sidecar | None, *, matches: bool) -> None:
    advice = "A plan is executable code: compile it again, or pass trust_engine=True if you made it yourself."
    if sidecar is None:
        raise BundleError(f"{path} has no sidecar {path.name}.json, so nothing vouches for it. {advice}")
    if not matches:
        raise BundleError(f"{path} is not the plan its sidecar describes (sha256 differs). {advice}")
    if sidecar.flavor != header.flavor:
        raise BundleError(f"{path} is a {header.flavor} plan, its sidecar says {sidecar.flavor}. {advice}")


def _require_same_graph(path: Path, sidecar: Sidecar, facts: GraphMetadata, signed: SignedFiles | None) -> None:
    from glow_deploy.artifact.manifest import manifest_digest

    graph = path.with_name(f"{facts.role}.onnx")
    current = manifest_digest(graph, signed=signed)
    if current is not None and current != sidecar.onnx_sha256:
        raise BundleError(f"{path} was compiled from another {graph.name} than the one beside it: compile it again")


def _facts(path: Path, sidecar: Sidecar | None, signed: SignedFiles | None) -> GraphMetadata:
    if sidecar is not None:
        return GraphMetadata.from_props(sidecar.metadata, source=f"{path.name}.json")
    # Trusted without a sidecar: the graph it was compiled from still tells the bit depth.
    from glow_deploy.artifact.files import read_regular
    from glow_deploy.artifact.graph_file import read_graph
    from glow_deploy.artifact.limits import SIZE_LIMIT

    graph = path.with_name(path.name.split(".")[0] + ".onnx")
    if not graph.exists():
        raise EngineError(f"{path} has neither a sidecar nor {graph.name} beside it, so its bit depth is unknown")
    data = read_regular(graph, most=SIZE_LIMIT, error=EngineError)
    if signed is not None:
        signed.check(graph, data)
    return read_graph(data, source=str(graph)).facts


def _beside(plan: Path) -> str:
    """Name the graph that lies where `compile` found it, if it is there."""
    graph = plan.with_name(f"{plan.name.partition('.')[0]}.onnx")
    return f": {graph}" if graph.is_file() else ""
