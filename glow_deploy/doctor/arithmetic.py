"""What the backends here really compute float32 convolutions in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from glow_deploy.artifact.flavors import OPENVINO

from .openvino import openvino_backends
from .providers import Provider

__all__ = ["Arithmetic", "arithmetic_advice", "measure_arithmetic"]

_FORMATS = {"tf32": "TF32", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What a backend computes float32 convolutions in, with TF32 turned off: measured, not asked.

    Attributes:
        backend: `onnxruntime-cpu`, `onnxruntime-cuda`, or one of OpenVINO's names.
        text: `float32 (measured)`, `TF32!`, ...; `not measured`.
        detail: the error found beside that of TF32, or why it was not measured.
        float32: what it ought to be; None where it was not measured.
        integers: whether it convolves integers exactly, as exact graphs need it: `exact`, or why not.
        exact: the same in one word; None where it was not measured.
    """

    backend: str
    text: str
    detail: str
    float32: bool | None
    integers: str = "not measured"
    exact: bool | None = None


def measure_arithmetic(providers: tuple[Provider, ...], openvino_devices: Mapping[str, str]) -> tuple[Arithmetic, ...]:
    """Run a canary convolution on ONNX Runtime's providers that work, and on OpenVINO's devices."""
    from glow_deploy.canary import canary_for, integers_for
    from glow_deploy.canary.report import CanaryUnavailable

    usable = {each.name for each in providers if each.usable}
    backends = [
        backend
        for backend, provider in (
            ("onnxruntime-cpu", "CPUExecutionProvider"),
            ("onnxruntime-cuda", "CUDAExecutionProvider"),
        )
        if provider in usable
    ]
    backends += openvino_backends(openvino_devices)
    found = []
    for backend in backends:
        canary = canary_for(backend)
        if isinstance(canary, CanaryUnavailable):
            found.append(Arithmetic(backend=backend, text=canary.text, detail=canary.reason, float32=None))
            continue
        other: Literal["bf16", "tf32"] = "bf16" if backend in OPENVINO else "tf32"
        detail = f"error {canary.error:.1e}, {_FORMATS[other]} would be {canary.expected[other]:.1e}"
        integers = integers_for(backend)
        found.append(
            Arithmetic(
                backend=backend,
                text=canary.text,
                detail=detail,
                float32=canary.float32,
                integers=integers.reason if isinstance(integers, CanaryUnavailable) else integers.text,
                exact=None if isinstance(integers, CanaryUnavailable) else integers.sound,
            )
        )
    return tuple(found)


def arithmetic_advice(arithmetic: tuple[Arithmetic, ...], environment: Mapping[str, str]) -> list[str]:
    """Say what to do where a backend does not compute in float32."""
    cause = (
        "NVIDIA_TF32_OVERRIDE=1 is set: unset it"
        if environment.get("NVIDIA_TF32_OVERRIDE") == "1"
        else "the provider ignores that TF32 is turned off: update onnxruntime, or do not rely on it for round trips"
    )
    advice = []
    for each in arithmetic:
        if each.float32 is not False:
            continue
        if each.backend.endswith("-default"):
            advice.append(
                f"OpenVINO computes float32 convolutions in {each.text.rstrip('!')} here unless told otherwise: "
                "ask for INFERENCE_PRECISION_HINT=f32 in programs of your own, as openvino-cpu here does."
            )
            continue
        why = "OpenVINO ignores that f32 was asked for: do not rely on it" if each.backend in OPENVINO else cause
        advice.append(f"{each.backend} computes float32 convolutions in {each.text}: {why}")
    return advice
