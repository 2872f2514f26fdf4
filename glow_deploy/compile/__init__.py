"""ONNX graphs -> TensorRT plans, standard TensorRT and TensorRT for RTX.

Light to import, because `glow_deploy` itself imports it: what compiles is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.settings import settings_of

if TYPE_CHECKING:
    from glow_deploy.progress import ShareProgress

    from .plans import CompiledPlan
    from .settings import RTX_GPUS, CompileOptions, CompileSettings

__all__ = ["RTX_GPUS", "CompileSettings", "CompiledPlan", "compile", "compile_bundle"]


def compile_bundle(
    bundle_path: str | Path,
    *,
    settings: CompileSettings | None = None,
    force: bool = False,
    progress: ShareProgress | None = None,
    **options: Unpack[CompileOptions],
) -> tuple[CompiledPlan, ...]:
    """Compile the encoder and the decoder of a bundle, or one ONNX graph, into TensorRT plans beside them.

    By flavour, `encoder.onnx` becomes `encoder.rtx.trt` or `encoder.trt`, with a sidecar (`encoder.rtx.trt.json`).
    Nothing is replaced before all plans are whole, and nothing is left behind on failure.

    Args:
        bundle_path: a bundle folder, or one exported `.onnx` file.
        settings: what to compile for; None means TensorRT for RTX with batches of 1 to 32. Or the same as keyword
            arguments.
        force: replace plans that are there already.
        progress: called with what is being done and the share of it done, 0 to 1.
        **options: fields of `CompileSettings`, such as `flavor="rtx"` or `max_batch=16`.

    Returns:
        The plans written, encoder first.

    Raises:
        BundleError: no bundle there, or a graph that is damaged or unsafe.
        CompileError: TensorRT refuses a graph or an option.
        MissingDependencyError: the package of the flavour, or the GPU that standard TensorRT needs, is not there.
        UsageError: a plan exists already and `force` is off, or the place cannot be written.
    """
    from .plans import run_compile
    from .settings import CompileSettings

    chosen = settings_of(settings, options, CompileSettings)
    return run_compile(bundle_path, settings=chosen, force=force, progress=progress)


compile = compile_bundle


def __getattr__(name: str) -> object:
    match name:
        case "CompiledPlan":
            from .plans import CompiledPlan

            return CompiledPlan
        case "CompileSettings":
            from .settings import CompileSettings

            return CompileSettings
        case "RTX_GPUS":
            from .settings import RTX_GPUS

            return RTX_GPUS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])
