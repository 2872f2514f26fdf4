"""ONNX Runtime on the CPU or on CUDA. Never imports torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.arguments import as_whole
from glow_deploy.artifact.graph_file import GraphFile, read_graph
from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.errors import EngineError, MissingDependencyError
from glow_deploy.printable import one_line
from glow_deploy.protocol import EngineDetails
from glow_deploy.runtime import import_onnxruntime

from .base import EngineBase
from .device import MOST_THREADS, Device, count_gpus, parse_device
from .trial import try_graph

__all__ = ["OnnxRuntimeEngine", "cuda_problem", "open_onnx"]

_LONGEST = 400  # characters of what ONNX Runtime has to say
_NATIVE = {
    "bf16": "ONNX Runtime has no bfloat16 convolution for the CPU",
    "fp16": "on the CPU ONNX Runtime computes a float16 convolution in float32 and does not round its result",
}
_FATAL = 4  # ONNX Runtime's own severity scale; its errors reach us as exceptions


class OnnxRuntimeEngine(EngineBase):
    """A graph in an ONNX Runtime session.

    Args:
        model: the bytes of the ONNX file, or its path. A session built from bytes has no folder to follow external data
            into: a path is only for a file that was just written here.
        graph: what the file says about itself.
        device: `cpu` or `cuda`.
        source: the file's name, for messages.
        threads: CPU threads for one operator; None leaves the choice to ONNX Runtime.

    Raises:
        MissingDependencyError: CUDA was asked for and cannot be used here.
        EngineError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        graph: GraphFile,
        device: Device,
        source: str,
        threads: int | None = None,
    ) -> None:
        if device.kind == "cpu" and graph.facts.precision == "bf16-mixed":
            raise MissingDependencyError(
                f"{source}: ONNX Runtime has no bfloat16 convolution for the CPU: run it on an NVIDIA GPU, or run "
                "`glow-deploy export CKPT --precision mixed`"
            )
        native = graph.metadata.get(f"{PREFIX}exact.native")
        if native in _NATIVE:
            why = _NATIVE[native]
            if device.kind != "cpu":
                why = "on CUDA a 16-bit convolution may be rounded before its bias is added, and give other integers"
            raise MissingDependencyError(
                f"{source}: {why}: run it on openvino-cpu, or run `glow-deploy export CKPT --precision exact --native "
                f"{native}-carried` for the same integers"
            )
        self._session: Any = _session(model, device, source, threads)
        super().__init__(
            role=graph.facts.role,
            n_bits=graph.facts.n_bits,
            inputs=graph.inputs,
            outputs=graph.outputs,
            details=_details(self._session, device, graph),
            num_classes=graph.facts.num_classes,
            most_rows=graph.most_rows,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        names = [spec.name for spec in self._outputs]
        try:
            values = self._session.run(names, arrays)
        except Exception as error:  # its exceptions share no base class narrower than this
            reason = one_line(error, longest=_LONGEST)
            raise EngineError(
                f"ONNX Runtime failed on a batch of {batch}: {reason}: if memory ran out, run smaller batches"
            ) from None
        return dict(zip(names, values, strict=True))

    def _close(self) -> None:
        self._session = None


def open_onnx(
    data: bytes,
    *,
    device: str | Device = "auto",
    source: str = "the graph",
    threads: int | None = None,
    trusted: bool = True,
) -> OnnxRuntimeEngine:
    """Open ONNX bytes on a device.

    `auto` takes CUDA where a session really comes up on it, otherwise the CPU; `details.provider` says which.

    Args:
        data: the whole ONNX file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        source: the file's name, for messages.
        threads: CPU threads for one operator, >= 1; None leaves the choice to ONNX Runtime.
        trusted: somebody vouches for the graph. Any other is first run once in a process of its own, see `trial`.

    Raises:
        BundleError: the graph is damaged, unsafe or not ours.
        MissingDependencyError: CUDA was asked for and cannot be used here.
        EngineError: ONNX Runtime refuses the graph, or it did not survive the process of its own.
        UsageError: no such device name.
    """
    wanted = device if isinstance(device, Device) else parse_device(device)
    graph = read_graph(data, source=source)
    if not trusted:
        _import()  # without it there is nothing to try the graph in
        try_graph(data, work=graph.work, source=source)
    if wanted.kind != "auto":
        return OnnxRuntimeEngine(data, graph=graph, device=wanted, source=source, threads=threads)
    if cuda_problem(Device("cuda")) is None:
        with contextlib.suppress(MissingDependencyError, EngineError):
            return OnnxRuntimeEngine(data, graph=graph, device=Device("cuda"), source=source, threads=threads)
    return OnnxRuntimeEngine(data, graph=graph, device=Device("cpu"), source=source, threads=threads)


def cuda_problem(device: Device) -> str | None:
    """Why ONNX Runtime cannot use this CUDA device, as far as can be told without opening a session."""
    ort = _import()
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return (
            "the installed onnxruntime is the one for CPUs: for an NVIDIA GPU `pip uninstall onnxruntime`, then "
            "`pip install 'glow-deploy[gpu]'`"
        )
    gpus = count_gpus()
    if gpus == 0:
        return "no NVIDIA GPU or no driver was found"
    if device.index >= gpus:
        return f"there is no GPU number {device.index}: this machine shows {gpus}"
    return None


def _session(model: bytes | Path, device: Device, source: str, threads: int | None) -> Any:
    ort = _import()
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    if threads is not None:
        options.intra_op_num_threads = as_whole("threads", threads, least=1, most=MOST_THREADS)
    if device.kind == "cuda":
        problem = cuda_problem(device)
        if problem is not None:
            raise MissingDependencyError(f"ONNX Runtime cannot run on {device}: {problem}")
        # Without this entry a provider that fails to load leaves a silent CPU session.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        providers: list[Any] = [("CUDAExecutionProvider", {"device_id": device.index, "use_tf32": "0"})]
        with _quiet():
            ort.preload_dlls()
    else:
        providers = ["CPUExecutionProvider"]
    try:
        with _quiet():
            session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # its exceptions share no base class narrower than this
        raise EngineError(
            f"ONNX Runtime cannot open {source} on {device}: {one_line(error, longest=_LONGEST)}"
        ) from None
    used = session.get_providers()[0]
    wanted = "CUDAExecutionProvider" if device.kind == "cuda" else "CPUExecutionProvider"
    if used != wanted:
        raise MissingDependencyError(
            f"ONNX Runtime cannot run on {device}: it fell back to {used}; its CUDA and cuDNN libraries are "
            "probably missing: install onnxruntime-gpu[cuda,cudnn]"
        )
    return session


def _details(session: Any, device: Device, graph: GraphFile) -> EngineDetails:
    ort = _import()
    provider = session.get_providers()[0]
    tf32 = False
    if device.kind == "cuda":
        # Read back: the option is on unless turned off, and a misspelt one would be ignored.
        tf32 = session.get_provider_options()[provider].get("use_tf32", "1") != "0"
    return EngineDetails(
        backend=f"onnxruntime-{device.kind}",
        provider=provider,
        device=str(device),
        precision=graph.facts.precision,
        tf32=tf32,
        versions={"onnxruntime": ort.__version__},
    )


def _import() -> Any:
    try:
        return import_onnxruntime()
    except ImportError as error:
        raise MissingDependencyError(
            f"onnxruntime cannot be imported ({one_line(error, longest=_LONGEST)}): "
            "pip install 'glow-deploy[cpu]', or 'glow-deploy[gpu]' for an NVIDIA GPU"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what onnxruntime's Python code prints off the caller's standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
