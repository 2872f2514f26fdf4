"""What `torchrun --max-restarts` makes of a lost process: it starts all of them again, with the same command line.

That command began the run, and now it has to go on with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from .train_options.together import left_on_resume

__all__ = ["COUNT", "run_to_go_on_with"]

COUNT = "TORCHELASTIC_RESTART_COUNT"
"""Where torchrun says how often it has started the processes again."""


def run_to_go_on_with(out: Path | None, given: set[str]) -> tuple[Path | None, set[str]]:
    """Return the run that an earlier start of this very command left, and the options that still count.

    The others are in its checkpoint.

    Args:
        out: as given with `--out`.
        given: options that were written on the command line.

    Returns:
        None, and the options as they are, where this is the first start or nothing was saved before the loss.

    Raises:
        UsageError: `--force`, which would throw away what the earlier start trained; or the run of somebody else,
            which it was to replace.
    """
    from glow_deploy.errors import UsageError

    restarts = os.environ.get(COUNT, "0")
    if restarts == "0" or out is None or not (out / "ckpt.pt").exists():
        return None, given
    if "force" in given:
        raise UsageError(
            f"torchrun starts this command again, and --force would begin {out} anew: go on with it by --resume {out}"
        )
    return out, left_on_resume(given)
