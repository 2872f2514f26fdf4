"""Scores with given bits/dim."""

from __future__ import annotations

import math

import numpy as np

from glow_deploy.scoring.score import HeldOut, Scores
from glow_deploy.scoring.sets import ScoredSet, SetTally

DIMS = 12
REFERENCE = HeldOut(source="r", bits_per_dim=np.linspace(2.0, 4.0, 21))


def scores(bits, *, names=None, labels=None) -> Scores:
    bits = np.asarray(bits, dtype=np.float64)
    return Scores(
        names=tuple(names) if names is not None else tuple(f"p{index}" for index in range(len(bits))),
        log_prob=(5 - bits) * DIMS * math.log(2),
        bits_per_dim=bits,
        bits_per_dim_centre=bits - 0.125,
        level_squares=np.stack([bits / 2, bits / 4], axis=1),
        labels=None if labels is None else np.asarray(labels),
    )


def scored(name, bits) -> ScoredSet:
    tally = SetTally(name, source=f"where {name} is")
    tally.add(scores(bits))
    return tally.result()
