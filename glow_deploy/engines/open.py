"""Opening an engine file: told by its content, checked against its manifest, on the device asked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from glow_deploy.errors import BundleError, EngineError

from .device import parse_device
from .protocol import Engine

__all__ = ["open_engine"]

_PLAN_MAGICS = (b"ftrt", b"vtrt")
_MAX_ONNX = 2**31 - 1  # protobuf's own limit
_MAX_MANIFEST = 16 * 2**20


def open_engine(
    path: str | Path,
    *,
    device: str = "auto",
    trust_engine: bool = False,
    threads: int | None = None,
    cuda_graphs: bool = False,
) -> Engine:
    """Open an encoder or decoder: an ONNX graph, or a TensorRT plan of either flavour.

    The kind is told by the file's first bytes, not its name. A `manifest.json` in the same folder that lists the
    file must agree with it; a lone ONNX file needs none. A plan is executable code: it is opened only with a sidecar
    (`<plan>.json`) that names its sha256, or on the caller's word.

    Args:
        path: the engine file.
        device: `auto` (CUDA where it works, otherwise the CPU), `cpu`, `cuda` or `cuda:N`. A plan needs CUDA.
        trust_engine: run a plan without a matching sidecar.
        threads: CPU threads for ONNX Runtime; None leaves the choice to it.
        cuda_graphs: replay TensorRT's work as CUDA graphs, which saves launch time on small batches.

    Returns:
        The engine; use it in a `with` statement.

    Raises:
        BundleError: the file is damaged, unsafe, or not what its manifest or sidecar says.
        EngineError: not an engine file, or the backend refuses it.
        MissingDependencyError: the device asked for, or the package a plan needs, is not there.
        UsageError: no such device name.
    """
    path = Path(path)
    wanted = parse_device(device)
    data = _read(path)
    if data[:4] in _PLAN_MAGICS:
        from .open_plan import open_plan

        return open_plan(path, data, device=wanted, trust_engine=trust_engine, cuda_graphs=cuda_graphs)
    if data[:2] == b"PK":
        raise EngineError(
            f"{path} is a checkpoint or archive, not an engine: run `glow-deploy export {path}` and open "
            "encoder.onnx or decoder.onnx from the bundle it writes."
        )
    from .onnxruntime import open_onnx

    check_manifest(path, data)
    return open_onnx(data, device=wanted, source=str(path), threads=threads)


def check_manifest(path: Path, data: bytes) -> None:
    """Compare a file with the sha256 that the manifest beside it gives for its name, if it gives one.

    Raises:
        BundleError: they differ, or the manifest cannot be read.
    """
    wanted = manifest_digest(path)
    if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
        raise BundleError(
            f"{path} is not the file its manifest.json describes (sha256 differs): it was changed or damaged. "
            "Export the bundle again."
        )


def manifest_digest(path: Path) -> str | None:
    """The sha256 that `manifest.json` beside `path` gives for it; None without a manifest or an entry.

    Raises:
        BundleError: there is a manifest that cannot be read.
    """
    manifest = path.parent / "manifest.json"
    try:
        if manifest.stat().st_size > _MAX_MANIFEST:
            raise BundleError(f"{manifest} is too large to be a manifest.")
        text = manifest.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{manifest} cannot be read: {error}") from None
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BundleError(f"{manifest} is not JSON: it is damaged. Export the bundle again.") from None
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise BundleError(f"{manifest} lists no files: it is not a glow-deploy manifest.")
    digest = files.get(path.name)
    if digest is not None and not isinstance(digest, str):
        raise BundleError(f"{manifest} gives no sha256 for {path.name}: it is damaged.")
    return digest


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise EngineError(f"{path} is a folder: name an engine file in it, such as {path / 'encoder.onnx'}.")
    try:
        size = path.stat().st_size
        if size == 0:
            raise BundleError(f"{path} is empty.")
        # A plan may pass 2 GiB; an ONNX file may not, and is refused before it is read.
        with path.open("rb") as file:
            start = file.read(4)
            if size > _MAX_ONNX and start not in _PLAN_MAGICS:
                raise BundleError(f"{path} is larger than 2 GiB, which no ONNX file of this kind may be.")
            return start + file.read()
    except FileNotFoundError:
        raise EngineError(f"{path} does not exist.") from None
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}.") from None
