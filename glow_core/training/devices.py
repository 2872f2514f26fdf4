"""One CPU, one GPU, or the processes torchrun started: all through Lightning Fabric."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from glow_core.errors import TrainingError

from .peers import is_lost_peer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["device_kind", "find_device", "make_fabric"]

_SHARED = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"  # torchrun's own


def device_kind(device: str) -> str:
    """Return `cpu` or `cuda` for a device as `make_fabric` takes it; whether it is there is not looked at."""
    kind = device.partition(":")[0]
    return ("cuda" if _gpus() else "cpu") if kind == "auto" else kind


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def find_device(device: str) -> torch.device:
    """Return the device of one process.

    Args:
        device: as `make_fabric` takes it.

    Raises:
        TrainingError: it is not there.
    """
    count, kind, number = _gpus(), device_kind(device), int(device.partition(":")[2] or 0)
    if kind == "cpu":
        return torch.device("cpu")
    if number >= count:
        found = "none" if not count else f"{count} of them"
        raise TrainingError(f'device {device} is not there: torch sees {found}; use device="cpu" or device="auto"')
    return torch.device(kind, number)


def make_fabric(device: str) -> Fabric:
    """Return the launched Fabric for a device.

    Args:
        device: `auto` (a GPU where torch sees one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        TrainingError: the device is not there, Lightning Fabric is not installed, or the processes of torchrun do not
            reach each other.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise TrainingError("training needs the package lightning-fabric: install glow-deploy[train]") from error

    found = find_device(device)
    count, kind, number = _gpus(), found.type, device.partition(":")[2]
    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        if number:
            raise TrainingError(f"under torchrun every process takes its own GPU: say cuda, not {device}")
        if kind == "cuda" and local > count:
            raise TrainingError(f"torchrun started {local} processes here, but torch sees {count} GPUs")
        fabric = Fabric(
            accelerator=kind,
            devices=local,
            num_nodes=int(os.environ["WORLD_SIZE"]) // local,
            # Buffers (actnorm flags, permutations) never change after the start.
            strategy=DDPStrategy(broadcast_buffers=False),
            plugins=[TorchElasticEnvironment()],
        )
    else:
        # The environment is named so that Fabric does not mistake a batch job for a distributed run.
        chosen = [found.index] if kind == "cuda" else 1
        fabric = Fabric(accelerator=kind, devices=chosen, plugins=[LightningEnvironment()])
    try:
        fabric.launch()
    except RuntimeError as error:
        if not is_lost_peer(error):
            raise
        raise TrainingError(f"the processes of this run do not reach each other ({_brief(error)}){_stale()}") from error
    return fabric


def _brief(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:200]


def _stale() -> str:
    """A hint for processes that were started again: torchrun keeps the addresses of those before them.

    See https://github.com/pytorch/pytorch/issues/135712.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0" or os.environ.get(_SHARED) == "1":
        return ""
    return f"; torchrun started them again and still holds the addresses of the earlier ones: set {_SHARED}=1 for it"
