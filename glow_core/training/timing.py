"""How long work takes on a device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

__all__ = ["CHEAP_SECONDS", "seconds_of"]

CHEAP_SECONDS = 1.0
"""What takes less is worth a second measurement: the first one also warms up."""


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Do something once and return its seconds, what a GPU has yet to do included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
