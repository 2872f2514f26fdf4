"""The part of compiling that both flavours share: parse, give every input a profile, build, and say why it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glow_deploy.artifact.flavors import LABELS
from glow_deploy.artifact.graph_file import GraphFile
from glow_deploy.engines.trt_module import collection_paused, keep_log
from glow_deploy.errors import CompileError
from glow_deploy.interrupts import Deferred, interrupts_deferred
from glow_deploy.printable import one_line
from glow_deploy.progress import ShareProgress

from .monitor import make_monitor
from .settings import CompileSettings

__all__ = ["Configure", "build_plan"]

Configure = Callable[[Any], None]
"""Sets the options of one flavour on an `IBuilderConfig`."""


def build_plan(
    data: bytes,
    graph: GraphFile,
    *,
    trt: Any,
    settings: CompileSettings,
    configure: Configure,
    source: str,
    progress: ShareProgress | None = None,
    collect: Configure | None = None,
) -> bytes:
    """Compile one graph.

    Two builds need not give the same bytes: TensorRT for RTX 1.7 numbers its inner tensors and orders the outputs
    differently from build to build, with the same weights and the same size.

    Args:
        data: the ONNX file.
        graph: what was read from it.
        trt: the module of the flavour.
        settings: batch sizes and TF32; the rest is for `configure`.
        configure: sets what only this flavour has.
        source: the graph's name, for messages.
        progress: called while it builds.
        collect: given the configuration after a successful build, to take the timing cache out of it.

    Returns:
        The serialized plan.

    Raises:
        CompileError: TensorRT refuses the graph or an option.
    """
    with collection_paused(), interrupts_deferred() as interrupted:
        plan = _build(data, graph, trt, settings, configure, source, progress, collect, interrupted)
    if plan is None:
        raise KeyboardInterrupt  # where the signal's own handler did not
    return plan


def _build(
    data: bytes,
    graph: GraphFile,
    trt: Any,
    settings: CompileSettings,
    configure: Configure,
    source: str,
    progress: ShareProgress | None,
    collect: Configure | None,
    interrupted: Deferred,
) -> bytes | None:
    """Returns None where a signal stopped it; the signal is handled when the caller's block ends."""
    label = LABELS[settings.flavor]
    log = keep_log(trt)
    try:
        builder = trt.Builder(log)
    except TypeError:  # what pybind makes of a null pointer
        raise CompileError(f"{label} cannot start its builder: {_reason(log)}") from None
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        found = [_describe(parser.get_error(index)) for index in range(parser.num_errors)]
        raise CompileError(f"{label} cannot read {source}: {'; '.join(found[:5]) or _reason(log)}")
    config = builder.create_builder_config()
    _set_tf32(trt, config, settings)
    _set_profile(builder, config, network, graph, settings)
    configure(config)
    config.progress_monitor = monitor = make_monitor(trt, progress, interrupted)
    plan = builder.build_serialized_network(network, config)
    if monitor.failure is not None:
        raise monitor.failure
    if interrupted:
        return None
    if plan is None:
        hint = ""
        if "sm75" in settings.targets:
            hint = " Compiling for sm75 (Turing) is known to fail for some models: leave it out of gpus=."
        raise CompileError(f"{label} cannot compile {source}: {_reason(log)}{hint}")
    if collect is not None:
        collect(config)
    return bytes(plan)


def _set_tf32(trt: Any, config: Any, settings: CompileSettings) -> None:
    flag = trt.BuilderFlag.TF32
    if settings.tf32:
        config.set_flag(flag)
    else:
        config.clear_flag(flag)  # set by default
    if config.get_flag(flag) != settings.tf32:
        raise CompileError(f"{LABELS[settings.flavor]} did not accept the TF32 setting {settings.tf32}")


def _set_profile(builder: Any, config: Any, network: Any, graph: GraphFile, settings: CompileSettings) -> None:
    shapes = {spec.name: spec.shape for spec in graph.inputs}
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        smallest, preferred, largest = ((batch, *shapes[name]) for batch in settings.profile)
        profile.set_shape(name, smallest, preferred, largest)
    if config.add_optimization_profile(profile) < 0:
        raise CompileError(
            f"{LABELS[settings.flavor]} refuses batches of {settings.min_batch} to {settings.max_batch} for this graph"
        )


def _describe(error: Any) -> str:
    name = error.node_name()
    where = f"node {name!r}: " if name else ""
    return where + one_line(error.desc(), longest=300)


def _reason(log: Any) -> str:
    kept = list(log.errors) or list(log.messages)
    return "; ".join(message[:400] for message in kept[:3]) or "it gave no reason."
