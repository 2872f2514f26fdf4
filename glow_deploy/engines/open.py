"""Opening an engine file: told by its content, checked against its manifest, on the device asked for."""

from __future__ import annotations

import os
from pathlib import Path

from glow_deploy.arguments import as_choice, as_flag, as_path, as_whole
from glow_deploy.artifact.files import open_regular, sha256_bytes
from glow_deploy.artifact.flavors import GRAPH_BACKENDS, OPENVINO, WEB, GraphBackend, installed_backends
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.artifact.manifest import ENCODER, MANIFEST, manifest_digest
from glow_deploy.artifact.plan_header import MAGICS
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.errors import BundleError, EngineError, UsageError
from glow_deploy.protocol import Engine

from .device import MOST_THREADS, Device, parse_device
from .exact import like_others

__all__ = ["check_manifest", "open_engine", "open_graph"]

_TRIES = 5  # to read a file of a bundle that is replaced again and again


def open_engine(
    path: str | Path,
    *,
    backend: GraphBackend = "auto",
    device: str = "auto",
    trust_engine: bool = False,
    threads: int | None = None,
    cuda_graphs: bool = False,
    signed: SignedFiles | None = None,
) -> Engine:
    """Open an encoder or decoder: an ONNX graph, or a TensorRT plan of either flavour.

    The kind is told by the file's first bytes, not its name. A `manifest.json` in the same folder that lists the
    file must agree with it; a lone ONNX file needs none, and is first run once in a process of its own, which takes
    about a second. A plan is executable code: it is opened only with a sidecar (`<plan>.json`) that names its sha256,
    or on the caller's word.

    Args:
        path: the engine file.
        backend: what runs an ONNX graph. `auto` is ONNX Runtime; `openvino-cpu`, `openvino-gpu` and `openvino-npu` are
            OpenVINO in float32 on that device; `openvino-cpu-default` leaves the number format to OpenVINO, which takes
            bfloat16 on CPUs that have it. `onnxruntime-web` is WebAssembly in headless Chromium, and
            `onnxruntime-web-node` in Node. Other names are those of backends that installed packages bring.
        device: `auto` (CUDA where it works, otherwise the CPU), `cpu`, `cuda` or `cuda:N`. A plan needs CUDA. The name
            of an OpenVINO backend says where it runs.
        trust_engine: run a plan without a matching sidecar.
        threads: CPU threads for ONNX Runtime or OpenVINO, 1 or more; None leaves the choice to it.
        cuda_graphs: replay TensorRT's work as CUDA graphs, which saves launch time on small batches.
        signed: of a signature of the bundle that was checked. The engine, its manifest and its sidecar must be what it
            covers, `trust_engine` or not.

    Returns:
        The engine; use it in a `with` statement. That of an exact graph is an `ExactEngine`, which gives integers as
        standard normal numbers.

    Raises:
        BundleError: the file is damaged, unsafe, or not what its manifest or sidecar says.
        SignatureError: the file, its manifest or its sidecar is not what was signed.
        EngineError: not an engine file, or the backend refuses it.
        MissingDependencyError: the device asked for, or the package a plan needs, is not there.
        UsageError: no such device or backend name, the two do not fit, or an argument of the wrong kind.
    """
    path = as_path("path", path)
    wanted = parse_device(device)
    if backend != "auto" and backend not in GRAPH_BACKENDS:
        backend = as_choice("backend", backend, ("auto", *GRAPH_BACKENDS, *installed_backends()))
    threads = None if threads is None else as_whole("threads", threads, least=1, most=MOST_THREADS)
    trust_engine, cuda_graphs = as_flag("trust_engine", trust_engine), as_flag("cuda_graphs", cuda_graphs)
    data = _read(path)
    if signed is not None:
        signed.check(path, data)
    if data[:4] in MAGICS:
        if backend != "auto":
            raise UsageError(f"{path} is a TensorRT plan, which {backend} cannot run: name the ONNX graph")
        from .open_plan import open_plan

        return like_others(
            open_plan(path, data, device=wanted, trust_engine=trust_engine, cuda_graphs=cuda_graphs, signed=signed)
        )
    if data[:2] == b"PK":
        raise EngineError(
            f"{path} is a checkpoint or archive, not an engine: run `glow-deploy export {path}` and open "
            "encoder.onnx or decoder.onnx from the bundle it writes"
        )
    data, listed = _settled(path, data, signed)
    if backend != "auto":
        return like_others(
            open_graph(data, backend=backend, device=wanted, source=str(path), threads=threads, trusted=listed)
        )
    from .onnxruntime import open_onnx

    return like_others(open_onnx(data, device=wanted, source=str(path), threads=threads, trusted=listed))


def open_graph(
    data: bytes,
    *,
    backend: str,
    device: Device | None = None,
    source: str = "the graph",
    threads: int | None = None,
    trusted: bool = True,
) -> Engine:
    """Open ONNX bytes in OpenVINO, or in what a package brings.

    Args:
        data: the whole ONNX file.
        backend: one of `GRAPH_BACKENDS` or of `installed_backends`.
        device: what a `--device` says, which must agree with the name; None and `auto` always do.
        source: the file's name, for messages.
        threads: CPU threads, >= 1; None leaves the choice to the runtime.
        trusted: somebody vouches for the graph. Any other is first run once in a process of its own, see `trial`.

    Raises:
        BundleError: the graph is damaged, unsafe or not ours.
        MissingDependencyError: the runtime is not installed, or reports no such device.
        EngineError: it refuses the graph, does not compute in float32 where that is asked for, or did not survive the
            process of its own.
        UsageError: no such backend, or the device is another than the backend's.
    """
    from glow_deploy.artifact.graph_file import read_graph

    from .plugin import find_plugin

    kind = "cpu" if backend in WEB else "auto"
    if backend in OPENVINO:
        kind = backend.removeprefix("openvino-").partition("-")[0]
    if device is not None and device.kind not in ("auto", kind):
        raise UsageError(f"{backend} says itself where it runs, and device={device} is elsewhere: leave device= out")
    plugin = find_plugin(backend)
    graph = read_graph(data, source=source)
    if not trusted and backend not in WEB:  # which is a process of its own anyway
        from .trial import PLUGIN, try_graph

        if backend in OPENVINO:
            from .openvino import import_openvino

            import_openvino()  # without it there is nothing to try the graph in
            try_graph(data, work=graph.work, source=source, runtime="openvino")
        else:
            try_graph(data, work=graph.work, source=source, runtime=PLUGIN, plugin=backend)
    return plugin.open(data, graph=graph, source=source, threads=threads)


def check_manifest(path: Path, data: bytes, *, signed: SignedFiles | None = None) -> bool:
    """Compare a file with the sha256 that the manifest beside it gives for its name, if it gives one.

    Returns:
        True where it gives one.

    Raises:
        BundleError: they differ, or the manifest cannot be read.
        SignatureError: the manifest is not what was signed.
    """
    wanted = manifest_digest(path, signed=signed)
    if wanted is not None and sha256_bytes(data) != wanted:
        raise BundleError(
            f"{path} is not the file its {MANIFEST} describes (sha256 differs): it was changed or damaged; "
            "export the bundle again"
        )
    return wanted is not None


def _settled(path: Path, data: bytes, signed: SignedFiles | None) -> tuple[bytes, bool]:
    """Return a file that agrees with its manifest; read anew where another export replaced both between the two reads.

    Returns:
        The file, and whether the manifest lists it.

    Raises:
        BundleError: see `check_manifest`.
        SignatureError: likewise. What was signed is not read anew: another export is not what was signed.
    """
    if signed is not None:
        return data, check_manifest(path, data, signed=signed)
    for _ in range(_TRIES):
        try:
            return data, check_manifest(path, data)
        except BundleError:
            before, data = data, _read(path)
            if data == before:
                break
    return data, check_manifest(path, data)


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise EngineError(f"{path} is a folder: name an engine file in it, such as {path / ENCODER}")
    if not path.exists():
        lost = "; export the bundle again" if (path.parent / MANIFEST).is_file() else ""
        raise EngineError(f"{path} does not exist{lost}")
    with open_regular(path, error=EngineError) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise BundleError(f"{path} is empty")
        # A plan may pass 2 GiB; an ONNX file may not, and is refused before it is read.
        start = file.read(4)
        if size > SIZE_LIMIT and start not in MAGICS:
            raise BundleError(f"{path} is larger than 2 GiB, which no ONNX file of this kind may be")
        file.seek(0)
        return file.read(size)  # at once: two pieces joined would take the room of the file twice
