"""Reads files one after another, in a process that may crash: a line in, a line out.

Started as `python worker.py MEMORY` by `run.py`. In: a loader's name and a path. Out: `ok`, `refused` or
`finding WHAT`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
import warnings
from pathlib import Path


def main(memory: int) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever a library prints goes nowhere, so that it cannot pass for an answer.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    import onnxruntime  # noqa: F401 - what is imported before the limit is not counted
    import torch
    from loaders import LOADERS

    from glow_core.errors import GlowCoreError
    from glow_deploy.errors import GlowDeployError

    torch.set_num_threads(1)
    _limit(memory)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, _, path = line.rstrip("\n").partition(" ")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                LOADERS[name](Path(path))
            answer = "ok"
        except (GlowDeployError, GlowCoreError) as error:
            answer = "refused" if len(str(error)) < 20_000 else f"finding a message of {len(str(error))} letters"
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            answer = f"finding {words} at {Path(last.filename).name}:{last.lineno}"
        print(answer.encode("ascii", "backslashreplace").decode(), file=answers, flush=True)


def _limit(memory: int) -> None:
    import resource

    pages = Path("/proc/self/statm")
    taken = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 0
    if taken:
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(int(sys.argv[1]))
