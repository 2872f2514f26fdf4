"""ONNX graphs -> TensorRT plans, standard TensorRT and TensorRT for RTX."""

from __future__ import annotations

from .plans import CompiledPlan, compile_bundle
from .settings import RTX_GPUS, CompileSettings

__all__ = ["RTX_GPUS", "CompileSettings", "CompiledPlan", "compile", "compile_bundle"]

compile = compile_bundle
