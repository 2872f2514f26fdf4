"""Which model an engine file belongs to."""

from __future__ import annotations

from pathlib import Path

from glow_deploy.errors import EngineError

from .files import check_regular
from .metadata import GraphMetadata
from .plan_header import MAGICS
from .sidecar import read_sidecar
from .signed import SignedFiles

__all__ = ["engine_facts", "engine_model_id"]


def engine_model_id(path: str | Path, *, signed: SignedFiles | None = None) -> str | None:
    """Read the sha256 of the folded weights that an ONNX file, or the sidecar of a plan, carries.

    It is the same in an encoder and a decoder that belong together, in every precision and flavour.

    Args:
        path: the engine file.
        signed: of a signature that was checked, which must cover what is read.

    Returns:
        64 hexadecimal digits; None for a plan without a sidecar, which does not say whose it is.

    Raises:
        BundleError: the file or the sidecar is damaged or not of this tool.
        SignatureError: what is read is not what was signed.
        EngineError: the file cannot be read.
    """
    facts = engine_facts(path, signed=signed)
    return None if facts is None else facts.model_id


def engine_facts(path: str | Path, *, signed: SignedFiles | None = None) -> GraphMetadata | None:
    """Read what an ONNX file, or the sidecar of a plan, says about itself: see `engine_model_id`."""
    path = Path(path)
    check_regular(path, error=EngineError)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            data = b"" if start in MAGICS else start + file.read()
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}") from None
    if start in MAGICS:
        sidecar = read_sidecar(path, signed=signed)
        if sidecar is None:
            return None
        return GraphMetadata.from_props(sidecar.metadata, source=f"{path.name}.json")
    from .graph_file import read_graph

    if signed is not None:
        signed.check(path, data)
    return read_graph(data, source=str(path)).facts
