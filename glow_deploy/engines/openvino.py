"""OpenVINO, held to float32. Never imports torch.

On a CPU with bfloat16 instructions OpenVINO runs a float32 graph in bfloat16 unless it is told otherwise, and does so
without a word. So every engine here asks for float32 and reads back what it was given.

Compiled for batches of any size, a graph keeps its small operations apart on the CPU, and its casts to bfloat16 do not
round to the nearest number. Compiled for one size they are fused, which is faster, and casts do round so. Latents are
then those that other runtimes give. So batches are cut into pieces of a few sizes, each compiled when it is first met.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from functools import cache, partial
from typing import Any

import numpy as np

from glow_deploy.artifact.flavors import OpenVinoName
from glow_deploy.artifact.graph_file import GraphFile
from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.artifact.signature import EXACT
from glow_deploy.errors import EngineError, MissingDependencyError
from glow_deploy.printable import one_line
from glow_deploy.protocol import EngineDetails

from .base import EngineBase
from .splitting import fixed_pieces, pad_rows

__all__ = ["CONVOLUTIONS_IN", "OpenVinoEngine", "import_openvino", "openvino_core", "openvino_devices"]

CONVOLUTIONS_IN = "all convolutions in"
"""What `details.provider` says before the number format, where OpenVINO tells that all of them run in the same."""

_DEVICES: dict[OpenVinoName, str] = {
    "openvino-cpu": "CPU",
    "openvino-gpu": "GPU",
    "openvino-npu": "NPU",
    "openvino-cpu-default": "CPU",
}
_SIZES = (1, 4, 16)  # each takes the memory of the weights once more; beyond 16 rows nothing is gained
_HINT = "INFERENCE_PRECISION_HINT"
_AS_TYPED = "dynamic"  # with the mode ACCURACY: every tensor in the number that the graph gives it
_PLACE = re.compile(r"^(Exception from|Check '.*' failed at) \S+:\d+:?$")  # where in its source; of no use here


class OpenVinoEngine(EngineBase):
    """A graph compiled by OpenVINO.

    The hint f32 is about float32 tensors. What a graph in mixed precision types as 16 bit is cast as the graph says.
    `openvino-cpu` compiles it for 1 row on opening, and for 4 and 16 when they are first met. Exact graphs, which give
    the same integers either way, and graphs of the other backends are compiled for batches of any size.

    Args:
        model: the bytes of the ONNX file.
        graph: what the file says about itself.
        backend: which device; `openvino-cpu-default` leaves the number format to OpenVINO, to show what that does.
        source: the file's name, for messages.
        threads: CPU threads; None leaves the choice to OpenVINO.

    Raises:
        MissingDependencyError: OpenVINO is not installed, or reports no such device.
        EngineError: OpenVINO refuses the graph, or does not give the float32 that was asked for.
    """

    def __init__(
        self,
        model: bytes,
        *,
        graph: GraphFile,
        backend: OpenVinoName,
        source: str,
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"the number of threads must be at least 1, got {threads}")
        native = graph.metadata.get(f"{PREFIX}exact.native", "")
        if native.endswith("-carried"):
            number = native.removesuffix("-carried")
            raise EngineError(
                f"{source}: OpenVINO leaves out casts to 16 bit and back, and would give other integers: export with "
                f"--native {number}, which it computes right, or without --native"
            )
        if graph.facts.precision == EXACT and backend.endswith("-default"):
            raise EngineError(
                f"{source}: {backend} takes the number format that OpenVINO likes best, and integers are exact in "
                "float32 alone: run it on openvino-cpu"
            )
        fixed = backend == "openvino-cpu" and graph.facts.precision != EXACT
        most = graph.most_rows or _SIZES[-1]
        self._sizes = tuple(size for size in _SIZES if size <= most) if fixed else ()
        self._compile = partial(_compile, model, graph=graph, backend=backend, source=source, threads=threads)
        rows = 1 if fixed else None
        compiled, details = self._compile(rows)
        self._requests: dict[int | None, Any] = {rows: compiled.create_infer_request()}
        self._lock = threading.Lock()  # a request runs one batch at a time
        super().__init__(
            role=graph.facts.role,
            n_bits=graph.facts.n_bits,
            inputs=graph.inputs,
            outputs=graph.outputs,
            details=details,
            num_classes=graph.facts.num_classes,
            most_rows=graph.most_rows,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        with self._lock:
            if not self._sizes:
                return self._infer(None, arrays, batch)
            pieces = fixed_pieces(batch, self._sizes)
            if len(pieces) == 1 and pieces[0].rows == batch:
                return self._infer(batch, arrays, batch)
            whole = {spec.name: np.empty((batch, *spec.shape), spec.dtype) for spec in self._outputs}
            for piece in pieces:
                part = {name: pad_rows(array[piece.start : piece.stop], piece.rows) for name, array in arrays.items()}
                for name, array in self._infer(piece.rows, part, batch).items():
                    whole[name][piece.start : piece.stop] = array[: piece.stop - piece.start]
            return whole

    def _infer(self, rows: int | None, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        if rows not in self._requests:
            self._requests[rows] = self._compile(rows)[0].create_infer_request()
        try:
            values = self._requests[rows].infer(arrays, share_inputs=True)
            return {spec.name: values[spec.name] for spec in self._outputs}
        except Exception as error:  # its exceptions share no base class narrower than this
            raise EngineError(
                f"OpenVINO failed on a batch of {batch}: {_one_line(error)}: if memory ran out, run smaller batches"
            ) from None

    def _close(self) -> None:
        self._requests.clear()
        del self._compile  # which holds the file


def openvino_devices() -> dict[str, str]:
    """The devices that OpenVINO reports here, such as `CPU` and `GPU.0`, and what they are called.

    Raises:
        MissingDependencyError: it is not installed.
        EngineError: it cannot tell.
    """
    try:
        core = openvino_core()
        return {name: str(core.get_property(name, "FULL_DEVICE_NAME")).strip() for name in core.available_devices}
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot list its devices: {_one_line(error)}") from None


@cache
def openvino_core() -> Any:
    """OpenVINO's entrance: one for the process, which stays.

    OpenVINO gives the thread that makes it another stack for signals, and puts the earlier one back at its end. Where
    two end in another order than they began, what is put back is a stack that is no more, and the next signal ends the
    process (OpenVINO 2026.4).

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """Import the package.

    Raises:
        MissingDependencyError: it is not there or cannot be loaded.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError(
            f"openvino cannot be imported ({_one_line(error)}): pip install 'glow-deploy[openvino]'"
        ) from None
    return openvino


def _compile(
    model: bytes, rows: int | None, *, graph: GraphFile, backend: OpenVinoName, source: str, threads: int | None
) -> tuple[Any, EngineDetails]:
    """Compile for batches of so many rows, or of any size, and check what came out of it."""
    device = _DEVICES[backend]
    known = openvino_devices()
    if not any(name.partition(".")[0] == device for name in known):
        raise MissingDependencyError(
            f"{backend} cannot run here: OpenVINO reports no {device}, only {', '.join(known) or 'nothing'}"
        )
    asked: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    native = graph.metadata.get(f"{PREFIX}exact.native")
    if native == "fp16":
        # Under the hint f32 float16 convolutions are computed in float32 and not rounded.
        asked |= {"EXECUTION_MODE_HINT": "ACCURACY", _HINT: _AS_TYPED}
    elif not backend.endswith("-default"):
        asked[_HINT] = "f32"
    if threads is not None and device == "CPU":
        asked["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino_core()
        read = core.read_model(model)
        typed = _typed(read)
        if rows is not None:
            read.reshape({spec.name: [rows, *spec.shape] for spec in graph.inputs})
        compiled = core.compile_model(read, device, asked)
        given = compiled.get_property(_HINT).get_type_name()
    except Exception as error:  # its exceptions share no base class narrower than this
        raise EngineError(f"OpenVINO cannot open {source} on its {device}: {_one_line(error)}") from None
    # Read back: a device that knows no float32 may take another format instead.
    formats = _formats(compiled)
    due = {"bf16": ("f32", "bf16"), "fp16": ("f32", "f16")}.get(native or "", ("f32",))
    strict = graph.facts.precision in ("fp32", EXACT)
    lower = list(formats) if strict and set(formats) - set(due) else []
    if given != asked.get(_HINT, given):
        lower = [given]
    if graph.facts.precision == EXACT and not formats:
        raise EngineError(
            f"OpenVINO does not tell in which format it computes {source} on its {device}, and integers are exact in "
            "float32 alone: run it on openvino-cpu"
        )
    if native == "fp16" and formats["f16"] != typed:
        raise EngineError(
            f"OpenVINO computes {formats['f16']} of the {typed} float16 convolutions of {source} in float16 on its "
            f"{device}, and the others would give other integers: run `glow-deploy export CKPT --precision exact "
            "--native fp16-carried` for the same integers in ONNX Runtime"
        )
    if _HINT in asked and lower:
        raise EngineError(
            f"OpenVINO computes {source} in {' and '.join(lower)} on its {device}, where f32 was asked for: take "
            "another device"
        )
    return compiled, EngineDetails(
        backend=backend,
        provider=f"OpenVINO {device} at {given if _HINT in asked else f'its default, {given}'}{_told(formats)}",
        device=device.lower() if device == "CPU" else f"{device} {known.get(device, known.get(f'{device}.0', ''))}",
        precision=graph.facts.precision,
        tf32=False,
        versions={"openvino": _version(import_openvino())},
    )


def _typed(model: Any) -> int:
    """How many convolutions of a model are typed in float16."""
    kinds = ("Convolution", "GroupConvolution")
    return sum(
        op.get_type_name() in kinds and op.get_output_element_type(0).get_type_name() == "f16" for op in model.get_ops()
    )


def _formats(compiled: Any) -> Counter[str]:
    """How many convolutions run in which number format, as the compiled model tells it; empty where it does not."""
    found: Counter[str] = Counter()
    try:
        for node in compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            if "layerType" in info and _text(info["layerType"]).lower().startswith("convolution"):
                found[_text(info["runtimePrecision"]).lower()] += 1
    except Exception:  # its exceptions share no base class; not every device tells
        return Counter()
    return found


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _told(formats: Counter[str]) -> str:
    if len(formats) == 1:
        return f", {CONVOLUTIONS_IN} {next(iter(formats))}"
    parts = [f"{count} in {name}" for name, count in sorted(formats.items())]
    return f", convolutions {', '.join(parts)}" if parts else ""


def _version(openvino: Any) -> str:
    return str(openvino.__version__).partition("-")[0]


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not _PLACE.match(line)]
    return one_line(" ".join(kept or lines), longest=400)
