"""What a reader of the report has to know about the machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from glow_deploy._version import __version__

__all__ = ["environment"]

_PACKAGES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "tensorrt-rtx-cu12",
    "cuda-bindings",
)


def environment() -> dict[str, Any]:
    """Python, platform, processors and installed versions, without importing any of the packages."""
    versions = {"glow-deploy": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "versions": versions,
    }
