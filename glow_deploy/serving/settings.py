"""How a bundle is served."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal, get_args

from glow_deploy.arguments import as_choice, as_flag, as_real, as_several, as_text, as_whole, quoted, settle
from glow_deploy.artifact.flavors import PairFlavor, as_flavor
from glow_deploy.engines.device import MOST_THREADS, as_device
from glow_deploy.errors import UsageError
from glow_deploy.kserve.address import DEFAULT_NAME, check_model_name

__all__ = ["MOST_JSON", "ServeSettings", "TritonBackend", "TritonSettings"]

MOST_JSON = 4 << 20
"""Bytes of JSON in a request."""

TritonBackend = Literal["onnxruntime", "tensorrt", "openvino", "python"]
"""What runs the two engines in Triton; `python` is this package's own engines in Triton's Python backend."""


@dataclass(frozen=True, kw_only=True)
class TritonSettings:
    """Options of `write_repository`.

    Attributes:
        name: the models are `NAME-encoder`, `NAME-decoder`, ...
        backend: of Triton, for the two engines. `tensorrt` takes the plans that `compile --flavor tensorrt` made.
        max_batch: rows that Triton joins requests to at most; of plans no more than their profile, and of OpenVINO
            no more than 8, because its backend fills every batch up to the largest.
        delay: milliseconds that a request waits for others to be joined with.
        queue: requests that wait at most; more are refused.
        deadline: seconds after which a request that still waits is refused.
        instances: of each engine, which run at the same time.
        device: `auto` (GPUs where there are some), `cpu` or `gpu`.
        threads: CPU threads of one instance; None leaves the choice to the backend.
        force: replace a repository that this tool wrote.

    Raises:
        UsageError: a value is out of range.
    """

    name: str = DEFAULT_NAME
    backend: TritonBackend = "onnxruntime"
    max_batch: int = 64
    delay: float = 2.0
    queue: int = 4096
    deadline: float = 30.0
    instances: int = 1
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        settle(self, as_text, "name", such_as=DEFAULT_NAME)
        check_model_name(self.name)
        settle(self, as_choice, "backend", choices=get_args(TritonBackend))
        settle(self, as_choice, "device", choices=("auto", "cpu", "gpu"))
        settle(self, as_whole, "max_batch", "instances", "queue", least=1, most=10**6)
        settle(self, as_whole, "threads", optional=True, least=1, most=MOST_THREADS)
        settle(self, as_real, "delay", least=0, most=10_000)
        settle(self, as_real, "deadline", above=0, most=86_400)
        settle(self, as_flag, "force")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Options of the server.

    Attributes:
        name: the models are `NAME-encoder`, `NAME-decoder`, ...
        flavor: which engines of the bundle.
        device: where to run them.
        threads: CPU threads; None leaves the choice to the engine.
        trust_engine: run plans without a matching sidecar.
        max_batch: rows that requests are joined to at most.
        delay: milliseconds that a request waits for others to be joined with, once an engine is free.
        queue: requests of one model that wait at most; more are refused with 503.
        deadline: seconds after which a request that has not been answered is refused with 504.
        max_body: bytes of a request at most; one in JSON alone has `MOST_JSON` at most, because reading it takes many
            times its size.
        hosts: names besides this machine's own under which the server may be asked for, without ports.
    """

    name: str = DEFAULT_NAME
    flavor: PairFlavor = "onnx"
    device: str = "auto"
    threads: int | None = None
    trust_engine: bool = False
    max_batch: int = 64
    delay: float = 2.0
    queue: int = 256
    deadline: float = 30.0
    max_body: int = 64 << 20
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle(self, as_text, "name", such_as=DEFAULT_NAME)
        check_model_name(self.name)
        settle(self, as_flavor, "flavor")
        settle(self, as_device, "device")
        settle(self, as_whole, "threads", optional=True, least=1, most=MOST_THREADS)
        settle(self, as_whole, "max_batch", "queue", least=1, most=10**6)
        settle(self, as_whole, "max_body", least=1 << 10, most=1 << 31)
        settle(self, as_real, "delay", least=0, most=10_000)
        settle(self, as_real, "deadline", above=0, most=86_400)
        settle(self, as_flag, "trust_engine")
        settle(self, as_several, "hosts", check=_as_host)


def _as_host(name: str, value: object) -> str:
    """Take a host as a `Host` header has it, without the port: every port is as good as another."""
    host = as_text(name, value)
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    if any(letter in host for letter in ":/@ []"):
        raise UsageError(f"{name} holds {quoted(host)}; give a name or an address alone, without a port")
    return host
