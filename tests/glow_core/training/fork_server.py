"""Imports torch once, then forks one training process for every line of JSON on stdin and prints its process id.

A line {"wait": PID} prints how that process ended, as `os.waitstatus_to_exitcode` says it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import lightning_fabric  # noqa: F401
from training_toys import toy_training

from glow_core.errors import TrainingError
from glow_core.training import Progress, train  # noqa: F401 - imported before the forks


def child(request: dict) -> int:
    limit = request.pop("file_limit", None)
    after = request.pop("limit_after", 0)
    messages = Path(request.pop("messages", os.devnull))

    def progress(state: Progress) -> None:
        if limit is not None and state.step >= after:
            # As a full disk does, this makes the next long write fail halfway.
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    try:
        result = toy_training(progress=progress, **request)
    except KeyboardInterrupt:
        return 130
    except TrainingError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        messages.write_text(str(error)[:200])
        return 2
    return {"terminated": 15}.get(result.stopped, 0)


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(child(request))
        print(pid, flush=True)


main()
