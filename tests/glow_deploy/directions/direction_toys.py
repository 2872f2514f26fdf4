"""Labelled images whose attributes can be seen, and one that cannot."""

from __future__ import annotations

import numpy as np

from glow_deploy.data import ImageSet
from glow_deploy.directions.labelled import LabelledImages

MODEL = "0123456789abcdef" * 4
TRAIN, HELD = 90, 60


def toys(*, seed=0, train=TRAIN, held=HELD, rare=0, labels=None) -> LabelledImages:
    """Noise; `left` is bright on the left, `top` weakly so at the top, `coin` is nothing to be seen."""
    rng = np.random.default_rng(seed)
    count = train + held
    values = rng.integers(60, 160, (count, 1, 4, 4))
    flags = rng.random((count, 3)) < 0.5
    values[..., :2] += 60 * flags[:, 0, None, None, None]
    values[..., :1, :] += 12 * flags[:, 1, None, None, None]
    if rare:
        flags[:, 2] = np.arange(count) % train < rare
    pictures = values.astype(np.uint8)
    whole = ImageSet(
        description="toys",
        shape=(1, 4, 4),
        count=count,
        read=lambda rows: pictures[rows],
        labels=labels,
        attributes=flags,
        attribute_names=("left", "top", "coin"),
    )
    return LabelledImages(source="toys", train=whole.select(range(train)), held_out=whole.select(range(train, count)))
