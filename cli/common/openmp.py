"""How the threads of PyTorch wait for each other."""

from __future__ import annotations

import os

__all__ = ["wait_briefly"]


def wait_briefly() -> None:
    """Let OpenMP threads sleep soon while they wait, as if the machine were shared; call it before torch is imported.

    By default each waiting thread keeps its core busy for milliseconds. Beside another busy process on two cores, that
    made training 25 times slower (1 step in 12 s against 25). What the user has set stays.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "1000"  # libgomp's own choice once it knows of more threads than cores
