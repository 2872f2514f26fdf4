"""What one process of a distributed run makes of the end of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glow_core.errors import TrainingError

if TYPE_CHECKING:
    from .run import Run

__all__ = ["is_lost_peer", "peers_watched"]

# What is said of a connection that is gone or silent. The libraries' names are no sign: they name themselves in errors
# of this process too, as when memory runs out.
_LOST = (
    "connection closed by peer",
    "connection reset by peer",
    "connection refused",
    "connection was likely closed",
    "connection timed out",
    "broken pipe",
    "caused pair closure",
    "timed out waiting",
    "timed out in monitoredbarrier",
    "before timing out",  # of the watchdog: "... ran for 600000 milliseconds before timing out"
    "ncclremoteerror",
    "remote process exit",
)


def is_lost_peer(error: BaseException) -> bool:
    """Tell whether an error is about the connection between processes.

    >>> is_lost_peer(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    True
    >>> is_lost_peer(RuntimeError("NCCL error: unhandled cuda error (out of memory)"))
    False
    """
    import torch.distributed

    # Of the network and of the store that processes meet at. Their base is also that of NCCL's own troubles.
    names = ("DistNetworkError", "DistStoreError")
    kinds = tuple(kind for name in names if (kind := getattr(torch.distributed, name, None)) is not None)
    if isinstance(error, kinds):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _LOST)


@contextmanager
def peers_watched(run: Run, out: Path) -> Iterator[None]:
    """Turn the loss of another process while the block runs into one clear error.

    Raises:
        TrainingError: another process ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        size = run.fabric.world_size
        if size == 1 or not is_lost_peer(error):
            raise
        kept = "" if run.records is None else f"; {run.records.state.kept()}"
        raise TrainingError(
            f"step {run.step}: another of the {size} processes of this run ended or does not answer; its own message "
            f"says why{kept}; start them again with resume=True (the run is in {out})"
        ) from error
