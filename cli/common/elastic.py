"""What `torchrun --max-restarts` makes of a lost process: it starts all of them again, with the same command line.

That command began the run, and now it has to go on with it. A run bears the mark of the torchrun that began it: a first
start may also have been refused because the folder holds the run of somebody else, which a second one must leave alone.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

from .train_options.together import left_on_resume

__all__ = ["COUNT", "NOTE", "RUN_ID", "run_to_go_on_with", "starter"]

COUNT = "TORCHELASTIC_RESTART_COUNT"
"""Where torchrun says how often it has started the processes again."""
RUN_ID = "TORCHELASTIC_RUN_ID"
"""Where torchrun says its `--rdzv-id`, which `--standalone` makes up anew each time."""
NOTE = "torchrun"
"""The note of a run that holds the mark of what began it."""
_UNNAMED = "none"  # the id that torchrun takes where none is given


def starter() -> dict[str, str]:
    """Return the note that marks a run as begun by the torchrun of this process; empty where there is none, or no name.

    All processes of one torchrun have the same mark, and have it again after a restart.
    """
    name = os.environ.get(RUN_ID)
    if name is None:
        return {}
    # An id that was written by hand may be used again. On one machine the process of torchrun tells the two apart.
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    if not alone and name in ("", _UNNAMED):
        return {}  # on several machines nothing tells two of them apart, so that a restart goes on with neither
    words = (name, socket.gethostname(), _parent()) if alone else (name,)
    return {NOTE: hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]}


def run_to_go_on_with(out: Path | None, given: set[str]) -> tuple[Path | None, set[str]]:
    """Return the run that an earlier start of this very command left, and the options that still count.

    The others are in its checkpoint.

    Args:
        out: as given with `--out`.
        given: options that were written on the command line.

    Returns:
        None, and the options as they are, where this is the first start, nothing was saved before the loss, or the run
        in the folder is another one.

    Raises:
        UsageError: `--force`, which would throw away what the earlier start trained.
    """
    from glow_deploy.errors import UsageError

    if os.environ.get(COUNT, "0") == "0" or out is None or not _began_here(out):
        return None, given
    if "force" in given:
        raise UsageError(
            f"torchrun starts this command again, and --force would begin {out} anew: go on with it by --resume {out}"
        )
    return out, left_on_resume(given)


def _began_here(out: Path) -> bool:
    from glow_core.errors import GlowCoreError
    from glow_core.training import read_run

    mark = starter()
    try:
        return bool(mark) and mark.items() <= read_run(out).notes.items()
    except GlowCoreError:  # no run, or none that can be gone on with: a new one is refused there, or replaces it
        return False


def _parent() -> str:
    """The process that started this one; on Linux with its start, since numbers are used again."""
    number = os.getppid()
    try:
        began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
    return f"{number} {began}"
