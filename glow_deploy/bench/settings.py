"""What a benchmark measures, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, get_args

from glow_deploy.arguments import as_choice, as_flag, as_real, as_several, as_text, as_whole, settle
from glow_deploy.engines.device import as_device
from glow_deploy.errors import UsageError
from glow_deploy.protocol import Role

__all__ = ["BenchOptions", "BenchSettings"]


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What to measure, and for how long.

    Attributes:
        backends: names as `verify` knows them; None for every one usable here. A lone engine file has only its own.
        roles: the engines of a bundle to run.
        batches: batch sizes.
        warmup_seconds: runs before the clock counts, at least two of them.
        duration: seconds of measured runs for each engine and batch; ignored if `iterations` is given.
        iterations: number of measured runs, None to go by `duration` (at least ten runs).
        cuda_graphs: replay TensorRT's work as CUDA graphs.
        threads: CPU threads for ONNX Runtime or OpenVINO; None leaves the choice to it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_engine: run plans without a matching sidecar.
    """

    backends: tuple[str, ...] | None = None
    roles: tuple[Role, ...] = ("encoder", "decoder")
    batches: tuple[int, ...] = (1, 16)
    warmup_seconds: float = 0.5
    duration: float = 3.0
    iterations: int | None = None
    cuda_graphs: bool = True
    threads: int | None = None
    device: str = "auto"
    trust_engine: bool = False

    def __post_init__(self) -> None:
        settle(self, as_several, "backends", optional=True, check=as_text)
        settle(self, as_several, "roles", check=as_choice, choices=get_args(Role))
        settle(self, as_several, "batches", check=as_whole, least=1)
        settle(self, as_real, "warmup_seconds", least=0)
        settle(self, as_real, "duration", above=0)
        settle(self, as_whole, "iterations", "threads", optional=True, least=1)
        settle(self, as_flag, "cuda_graphs", "trust_engine")
        settle(self, as_device, "device")
        for name in ("roles", "batches"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty; name at least one")


class BenchOptions(TypedDict, total=False):
    """The fields of `BenchSettings` as keyword arguments."""

    backends: tuple[str, ...] | None
    roles: tuple[Role, ...]
    batches: tuple[int, ...]
    warmup_seconds: float
    duration: float
    iterations: int | None
    cuda_graphs: bool
    threads: int | None
    device: str
    trust_engine: bool
