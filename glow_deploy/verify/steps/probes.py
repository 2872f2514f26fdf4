"""Engines that show every step's tensor: ONNX Runtime and OpenVINO with more outputs, TensorRT with a plan for it.

A probe is the deployed graph with the steps' tensors as outputs, opened with the options of the deployed engine. An
optimiser can no longer fuse across a tensor that is shown, so a probe is not the deployed engine to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from glow_deploy.artifact.flavors import BACKEND_FLAVORS, GRAPH_BACKENDS, Flavor, graph_backend
from glow_deploy.artifact.graph_file import GraphFile, describe_graph
from glow_deploy.artifact.graph_sizes import infer_sizes
from glow_deploy.artifact.signature import tensor_names
from glow_deploy.artifact.taps import with_outputs
from glow_deploy.engines.device import Device, parse_device
from glow_deploy.engines.tensorrt import TensorRTEngine
from glow_deploy.errors import EngineError, MissingDependencyError, UsageError
from glow_deploy.protocol import Engine, TensorSpec

from .taps import Layout

if TYPE_CHECKING:
    import onnx

    from glow_deploy.compile.settings import CompileSettings

__all__ = [
    "PROBES",
    "SIMULATED",
    "Probe",
    "ProbeGraph",
    "ProbePlanEngine",
    "compile_probe",
    "open_probe",
    "probe_graph",
]

SIMULATED = "simulated"
"""The graphs' own 16-bit parts, rounded in float32 on the CPU: what to look at where nothing computes in 16 bit."""

PROBES = ("onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx", *GRAPH_BACKENDS, SIMULATED)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Both engines of a backend, with the steps' tensors among their outputs."""

    name: str
    encoder: Engine
    decoder: Engine


@dataclass(frozen=True, kw_only=True)
class ProbeGraph:
    """A graph that shows its steps.

    Attributes:
        data: the ONNX file.
        graph: what it says about itself; its outputs are the deployed graph's, then the steps' tensors.
    """

    data: bytes
    graph: GraphFile


def probe_graph(model: onnx.ModelProto, names: Sequence[str], *, source: str) -> ProbeGraph:
    """Give a graph further outputs.

    Args:
        model: linted before, or built by us.
        names: tensors to show.
        source: the graph's name, for messages.
    """
    from onnx import helper

    plain = describe_graph(model, source=source)
    shown = with_outputs(model, names)
    outputs = tuple(
        TensorSpec(
            name=value.name,
            dtype=str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            shape=tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:],
        )
        for value in shown.graph.output
    )
    live = infer_sizes(shown, source=source).live
    graph = GraphFile(facts=plain.facts, metadata=plain.metadata, inputs=plain.inputs, outputs=outputs, live=live)
    return ProbeGraph(data=shown.SerializeToString(), graph=graph)


def open_probe(
    name: str,
    encoder: onnx.ModelProto,
    decoder: onnx.ModelProto,
    layout: Layout,
    *,
    stack: ExitStack,
    device: str = "auto",
    batch: int = 8,
    tf32: bool = False,
) -> Probe:
    """Open both graphs of a model on a backend, with every step's tensor as an output.

    Args:
        name: one of `PROBES`, or what an installed package brings.
        encoder: its graph.
        decoder: its graph.
        layout: of the model.
        stack: closes the engines.
        device: as for `verify`: `cpu` leaves the GPU backends out, `cuda:N` names the GPU.
        batch: the largest batch a TensorRT plan is compiled for.
        tf32: whether the deployed TensorRT plans were compiled with TF32 allowed.

    Raises:
        UsageError: an unknown name, or a GPU backend where the device asked for is the CPU.
        MissingDependencyError: no package, provider, driver or GPU for it.
        EngineError: the backend refuses the graph.
        CompileError: TensorRT refuses it.
    """
    runtime = graph_backend(name)
    if name not in PROBES and runtime == "auto":
        raise UsageError(f"there is no backend {name!r} that can show its steps; choose from {', '.join(PROBES)}")
    wanted = parse_device(device)
    on_cpu = name in ("onnxruntime-cpu", SIMULATED) or runtime != "auto"  # or where its name says
    if not on_cpu and wanted.kind == "cpu":
        raise UsageError(f"{name} needs a GPU and the device asked for is the CPU")
    where = Device("cpu") if on_cpu else Device("cuda", wanted.index)
    if name == SIMULATED:
        encoder, decoder = _simulated(encoder), _simulated(decoder)
    open_one: Callable[..., Engine] = _ort
    if name in BACKEND_FLAVORS:
        open_one = partial(_plan, flavor=BACKEND_FLAVORS[name], batch=batch, tf32=tf32)
    elif runtime != "auto":
        open_one = partial(_runtime, backend=runtime)
    engines = []
    for model, stages, role in ((encoder, layout.encode, "encoder"), (decoder, layout.decode, "decoder")):
        graph = probe_graph(model, [stage.output for stage in stages], source=f"{role}.onnx")
        engines.append(stack.enter_context(open_one(graph, where, source=f"the {role} with its steps shown")))
    return Probe(name=name, encoder=engines[0], decoder=engines[1])


def _simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    from glow_deploy.precision.simulate import simulated_graph

    return simulated_graph(model)


def _ort(graph: ProbeGraph, device: Device, *, source: str) -> Engine:
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph.data, graph=graph.graph, device=device, source=source)


def _runtime(graph: ProbeGraph, device: Device, *, source: str, backend: str) -> Engine:
    from glow_deploy.engines.plugin import find_plugin

    return find_plugin(backend).open(graph.data, graph=graph.graph, source=source, threads=None)


def _plan(graph: ProbeGraph, device: Device, *, source: str, flavor: Flavor, batch: int, tf32: bool) -> Engine:
    from glow_deploy.compile.settings import CompileSettings
    from glow_deploy.engines.cuda import Cuda
    from glow_deploy.engines.trt_module import import_tensorrt

    trt = import_tensorrt(flavor)
    cuda = Cuda(device.index)
    try:
        settings = CompileSettings(
            flavor=flavor,
            max_batch=batch,
            gpus=(cuda.target,) if flavor == "rtx" else (),
            tf32=tf32,
            device=str(device),
        )
    except UsageError as error:
        raise MissingDependencyError(f"{error} ({cuda.name} is {cuda.target})") from None
    plan = compile_probe(graph, trt=trt, settings=settings, source=source)
    return ProbePlanEngine(plan, graph=graph.graph, trt=trt, cuda=cuda, flavor=flavor, tf32=tf32, source=source)


def compile_probe(graph: ProbeGraph, *, trt: Any, settings: CompileSettings, source: str) -> bytes:
    """Compile a graph that shows its steps, as the deployed graph is compiled; the plan stays in memory.

    Raises:
        CompileError: TensorRT refuses the graph or an option.
    """
    from glow_deploy.compile.build import build_plan
    from glow_deploy.compile.rtx import configure_rtx
    from glow_deploy.compile.tensorrt import configure_tensorrt

    def configure(config: Any) -> None:
        if settings.flavor == "rtx":
            configure_rtx(trt, config, settings)
        else:
            configure_tensorrt(trt, config, settings)

    return build_plan(graph.data, graph.graph, trt=trt, settings=settings, configure=configure, source=source)


class ProbePlanEngine(TensorRTEngine):
    """A probe plan on a GPU: a `TensorRTEngine` that also gives the tensors shown.

    Args:
        plan: compiled here, from `graph`.
        graph: of the probe.
        trt: the module of the flavour.
        cuda: the GPU.
        flavor: which.
        tf32: whether TF32 kernels may be in the plan.
        source: name for messages.

    Raises:
        EngineError: TensorRT cannot set the plan up, or the plan does not give what it should show.
        BundleError: the plan's tensors are not those of the graph.
    """

    def __init__(
        self, plan: bytes, *, graph: GraphFile, trt: Any, cuda: Any, flavor: Flavor, tf32: bool, source: str
    ) -> None:
        deployed = set(tensor_names(graph.facts)[1])
        self._wanted = [spec.name for spec in graph.outputs if spec.name not in deployed]
        self._shown: list[TensorSpec] = []
        super().__init__(plan, trt=trt, cuda=cuda, flavor=flavor, facts=graph.facts, tf32=tf32, source=source)
        shown: dict[str, TensorSpec] = {spec.name: spec for spec in self._shown}
        missing = [name for name in self._wanted if name not in shown]
        if missing:
            self.close()
            raise EngineError(f"{source}: the plan does not give {missing[0]}, which it was compiled to show")
        self._outputs = (*self._outputs, *(shown[name] for name in self._wanted))

    def _signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        # The deployed signature is checked as ever; what is shown besides joins it afterwards.
        inputs, outputs = super()._signature()
        self._shown = [spec for spec in outputs if spec.name in self._wanted]
        return inputs, tuple(spec for spec in outputs if spec.name not in self._wanted)
