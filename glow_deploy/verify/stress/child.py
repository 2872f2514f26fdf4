"""What a fresh process runs: open a backend, encode and decode once, leave the outputs in a folder.

Started as `python -m glow_deploy.verify.stress.child FOLDER`; the folder holds the job and the images.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from glow_deploy.errors import GlowDeployError

from .determinism import ANSWER, JOB, QUESTION, run_backend

__all__ = ["main"]


def main(folder: Path) -> int:
    """Do the job in `folder`; returns the exit code."""
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.artifact.signed import SignedFiles
    from glow_deploy.verify.backends.backend import open_backends

    job = json.loads((folder / JOB).read_text())
    with np.load(folder / QUESTION) as archive:
        arrays = {key: archive[key] for key in archive.files}
    signed = None if job["signed"] is None else SignedFiles(**job["signed"])
    try:
        with ExitStack() as stack:
            backends = open_backends(
                Bundle.open(job["bundle"], signed=signed),
                stack=stack,
                wanted=[job["backend"]],
                ckpt=None if job["ckpt"] is None else Path(job["ckpt"]),
                device=job["device"],
                threads=job["threads"],
                trust_engine=job["trust_engine"],
            )
            outputs = run_backend(backends.matrix[0], arrays["x"], arrays.get("y"))
    except GlowDeployError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    np.savez(folder / ANSWER, allow_pickle=False, **outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
