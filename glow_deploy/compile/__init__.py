"""ONNX graphs -> TensorRT plans, standard TensorRT and TensorRT for RTX.

Light to import, because `glow_deploy` itself imports it: what compiles is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.arguments import as_flag, as_path
from glow_deploy.settings import settings_of

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.progress import ShareProgress

    from .plans import CompiledPlan
    from .settings import RTX_GPUS, CompileOptions, CompileSettings

__all__ = ["RTX_GPUS", "CompileSettings", "CompiledPlan", "compile", "compile_bundle"]


def compile_bundle(
    bundle: Bundle | str | Path,
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
        bundle: a bundle, its folder, or one exported `.onnx` file.
        settings: what to compile for; None means TensorRT for RTX with batches of 1 to 32. Or the same as keyword
            arguments.
        force: replace plans that are there already.
        progress: called with what is being done and the share of it done, 0 to 1.
        **options: see below.

    Options:
        flavor="rtx": `rtx` (TensorRT for RTX; compiles without a GPU) or `tensorrt` (for the GPU in this machine).
        min_batch=1: the smallest batch that the plan takes at once.
        opt_batch=None: the batch that it is tuned for; None is 8, or the nearest to it.
        max_batch=32: the largest, up to 65536.
        gpus=(): `rtx` only: compute capabilities such as `sm86`, or one; none means every one from Ampere on.
        tf32=False: allow TF32 in convolutions, which costs three decimal digits.
        opt_level=None: `tensorrt` only: builder optimization level, 0 to 5.
        timing_cache=None: `tensorrt` only: a file of kernel timings, read and written.
        version_compatible=False: `tensorrt` only: newer releases of the same major may run the plan.
        hardware_compatible=False: `tensorrt` only: every GPU from Ampere on may run the plan.
        device="cuda": `tensorrt` only: the GPU, `cuda` or `cuda:N`.

    Returns:
        The plans written, encoder first.

    Raises:
        BundleError: no bundle there, or a graph that is damaged or unsafe.
        CompileError: TensorRT refuses a graph or an option.
        MissingDependencyError: the package of the flavour, or the GPU that standard TensorRT needs, is not there.
        UsageError: a plan exists already and `force` is off, the place cannot be written, or an option is unknown, of
            the wrong kind or out of range.
    """
    from glow_deploy.artifact.bundle import Bundle

    from .plans import run_compile
    from .settings import CompileSettings

    chosen = settings_of(settings, options, CompileSettings, caller="compile", others=("force", "progress"))
    path = bundle.path if isinstance(bundle, Bundle) else as_path("bundle", bundle)
    return run_compile(path, settings=chosen, force=as_flag("force", force), progress=progress)


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
