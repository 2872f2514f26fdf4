"""What the throughput benchmark runs side by side: one model in several runtimes and number formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from _paper import FoldedDecoder, FoldedEncoder

from glow_core import Glow
from glow_deploy.engines.device import Device
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.engines.open import open_graph
from glow_deploy.errors import EngineError, MissingDependencyError
from glow_deploy.folding import FoldedGlow
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize
from glow_deploy.protocol import Engine, Role

__all__ = ["BASE", "BF16", "Contender", "contenders", "graph"]

BASE = "glow-deploy (ONNX Runtime)"
"""The row that all others are compared with."""

BF16 = "glow-deploy (OpenVINO, bf16-mixed)"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row.

    Attributes:
        name: what runs.
        computes: in which number formats, as the runtime itself tells.
        encode: x [N,C,H,W] float32 -> z1 ... zL.
        decode: z1 ... zL -> x.
    """

    name: str
    computes: str
    encode: Callable[[np.ndarray], list[np.ndarray]]
    decode: Callable[[Sequence[np.ndarray]], np.ndarray]


def graph(folded: FoldedGlow, role: Role, precision: str) -> bytes:
    """Return the file that `export` writes, whose self-check takes minutes and refuses bf16-mixed for this model."""
    facts = describe(folded, role=role, precision=precision, model_id=folded.model_id())
    plan = None if precision == "fp32" else PrecisionPlan.uniform(precision, folded)
    build = build_encoder if role == "encoder" else build_decoder
    return serialize(build(folded, metadata=facts, plan=plan))


def contenders(
    glow: Glow, folded: FoldedGlow, *, threads: int | None, torch_too: bool, compiled: bool
) -> list[Contender]:
    """Open all that runs here, `BASE` first; print why a row is left out."""
    found = [
        _engines(
            BASE, *(open_onnx(graph(folded, role, "fp32"), device=Device("cpu"), threads=threads) for role in _ROLES)
        )
    ]
    found += _openvino(folded, threads)
    if torch_too:
        found += _torch(glow, folded, compiled=compiled)
    return found


_ROLES: tuple[Role, Role] = ("encoder", "decoder")


def _openvino(folded: FoldedGlow, threads: int | None) -> Iterator[Contender]:
    wanted = (
        ("glow-deploy (OpenVINO, fp32)", "openvino-cpu", "fp32", ""),
        (BF16, "openvino-cpu", "bf16-mixed", "OpenVINO computes bf16-mixed in float32 here: this CPU has no bfloat16"),
        (
            "OpenVINO's default (no flow!)",
            "openvino-cpu-default",
            "fp32",
            "it is float32 here: this CPU has no bfloat16",
        ),
    )
    for name, backend, precision, why in wanted:
        try:
            pair = [open_graph(graph(folded, role, precision), backend=backend, threads=threads) for role in _ROLES]
        except (MissingDependencyError, EngineError) as error:
            print(f"{name} is left out: {error}")
            continue
        row = _engines(name, pair[0], pair[1])
        if why and "bf16" not in row.computes:
            print(f"{name} is left out: {why}")
            continue
        yield row


def _engines(name: str, encoder: Engine, decoder: Engine) -> Contender:
    told = decoder.details.provider.rpartition("convolutions ")  # as it tells of OpenVINO
    names = [spec.name for spec in decoder.inputs]

    def encode(x: np.ndarray) -> list[np.ndarray]:
        outputs = encoder.run({"x": x})
        return [outputs[latent] for latent in names]

    return Contender(
        name=name,
        computes=told[2].removeprefix("in ") if told[1] else "f32",
        encode=encode,
        decode=lambda latents: decoder.run(dict(zip(names, latents, strict=True)))["x"],
    )


def _torch(glow: Glow, folded: FoldedGlow, *, compiled: bool) -> Iterator[Contender]:
    """The model as trained, and folded by hand: eager, channels-last, torch.compile."""
    last = torch.channels_last
    trained = (lambda x: glow.encode(x)[0], lambda *latents: glow.decode(latents))
    yield _modules("PyTorch, as trained", *trained)
    yield _modules("PyTorch eager, folded", FoldedEncoder(folded).eval(), FoldedDecoder(folded).eval())
    strided = [module(folded).eval().to(memory_format=last) for module in (FoldedEncoder, FoldedDecoder)]
    yield _modules("PyTorch channels-last, folded", *strided, memory_format=last)
    if compiled:
        fast = [torch.compile(module, dynamic=False) for module in strided]
        yield _modules("torch.compile channels-last, folded", *fast, memory_format=last)


def _modules(
    name: str,
    encoder: Callable[..., Sequence[torch.Tensor]],
    decoder: Callable[..., torch.Tensor],
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Contender:
    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).contiguous(memory_format=memory_format)

    def encode(x: np.ndarray) -> list[np.ndarray]:
        return [latent.contiguous().numpy() for latent in encoder(tensor(x)) if latent.ndim == 4]

    return Contender(
        name=name,
        computes="f32",
        encode=encode,
        decode=lambda latents: decoder(*map(tensor, latents)).contiguous().numpy(),
    )
