"""Options of TensorRT for RTX: the GPUs to compile for, which need not be here."""

from __future__ import annotations

from typing import Any

from glow_deploy.errors import CompileError

from .settings import CompileSettings

__all__ = ["configure_rtx"]


def configure_rtx(trt: Any, config: Any, settings: CompileSettings) -> None:
    """Set the target GPUs by name.

    They are always named: left unset, TensorRT for RTX adds ones of its own choice.

    Raises:
        CompileError: the installed release does not know or accept a target.
    """
    targets = settings.targets
    config.num_compute_capabilities = len(targets)
    for index, name in enumerate(targets):
        capability = getattr(trt.ComputeCapability, name.upper(), None)
        if capability is None or not config.set_compute_capability(capability, index):
            raise CompileError(f"TensorRT for RTX {trt.__version__} cannot compile for {name}: leave it out of gpus=")
