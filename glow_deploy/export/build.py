"""Building both graphs of a model and loading them into ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engines.protocol import Engine, Role
from ..manifest import DECODER, ENCODER
from .settings import ExportSettings

if TYPE_CHECKING:
    from ..folding import FoldedGlow

__all__ = ["Graphs", "build_graphs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graphs:
    """The two graphs of one model.

    Attributes:
        model_id: as in the metadata of both.
        files: file name -> content.
        encoder: in ONNX Runtime on the CPU.
        decoder: likewise.
    """

    model_id: str
    files: Mapping[str, bytes]
    encoder: Engine
    decoder: Engine


def build_graphs(folded: FoldedGlow, settings: ExportSettings) -> Graphs:
    """Build, serialise and load; none of it needs torch, so it can go on beside the float64 model.

    Raises:
        UsageError: a graph would not fit in one ONNX file.
    """
    from ..engines.onnxruntime import open_onnx
    from ..graphs.decoder import build_decoder
    from ..graphs.encoder import build_encoder
    from ..graphs.metadata import GraphMetadata
    from ..graphs.serialize import serialize

    model_id = folded.model_id()

    def facts(role: Role) -> GraphMetadata:
        return GraphMetadata.of(folded, role=role, precision=settings.precision, model_id=model_id)

    files = {
        ENCODER: serialize(build_encoder(folded, metadata=facts("encoder"))),
        DECODER: serialize(build_decoder(folded, metadata=facts("decoder"))),
    }
    return Graphs(
        model_id=model_id,
        files=files,
        encoder=open_onnx(files[ENCODER], device="cpu", source=ENCODER),
        decoder=open_onnx(files[DECODER], device="cpu", source=DECODER),
    )
