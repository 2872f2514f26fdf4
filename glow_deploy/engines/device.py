"""The `--device` option: `auto`, `cpu`, `cuda` or `cuda:N`, and whether this machine has such a device."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from glow_deploy.arguments import as_text
from glow_deploy.errors import UsageError

__all__ = ["MOST_THREADS", "Device", "as_device", "count_gpus", "parse_device"]

MOST_THREADS = 4096
"""CPU threads that may be asked for: far more than any machine has cores, and few enough to be started."""


@dataclass(frozen=True)
class Device:
    """A parsed device.

    Attributes:
        kind: `auto`, `cpu` or `cuda`.
        index: CUDA ordinal, 0 unless named.
    """

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


def parse_device(text: str) -> Device:
    """Parse `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: anything else.
    """
    if not isinstance(text, str):
        as_text("device", text, such_as="cpu")
    kind, colon, index = text.strip().lower().partition(":")
    if kind in ("auto", "cpu", "cuda") and not colon:
        return Device(kind)
    if kind == "cuda" and index.isascii() and index.isdecimal() and len(index) <= 3:
        return Device(kind, int(index))
    raise UsageError(f"unknown device {text[:40]!r}: use auto, cpu, cuda or cuda:N")


def as_device(name: str, value: object) -> str:
    """Take the name of a device, as the checks of `glow_deploy.arguments` do."""
    text = value if isinstance(value, str) else as_text(name, value, such_as="cpu")
    parse_device(text)
    return text


def count_gpus() -> int:
    """Number of CUDA devices the driver shows to this process; 0 without a driver.

    Asks the driver library directly, so it needs no package and starts no context.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
