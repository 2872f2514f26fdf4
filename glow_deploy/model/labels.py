"""Classes as users name them: one for all, or one for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.arguments import as_several, as_whole
from glow_deploy.errors import UsageError
from glow_deploy.latents import check_labels
from glow_deploy.protocol import Engine

__all__ = ["Labels", "asks_for", "labels_for"]

Labels = int | Sequence[int] | npt.NDArray[np.integer]
"""The class of every image, or one class for all."""


def asks_for(word: Literal["all", "best"], labels: object) -> bool:
    """Tell whether `labels` is the word that stands for a choice of classes.

    Raises:
        UsageError: another string.
    """
    if isinstance(labels, str) and labels != word:
        raise UsageError(f'labels is {labels!r:.40}; give whole numbers or labels="{word}"')
    return isinstance(labels, str)


def labels_for(engine: Engine, labels: Labels | None, count: int) -> npt.NDArray[np.int64] | None:
    """Return the class of each of `count` images, None for a model without classes.

    Raises:
        UsageError: not whole numbers; or labels are missing or not wanted.
        DataError: as many as there are images, and not one, are no classes of the model.
    """
    if labels is None:
        return check_labels(engine, None, count)
    given = as_several("labels", labels, as_whole)
    if engine.num_classes is not None:
        # What int64 does not hold is no class either.
        as_several("labels", given, as_whole, least=-(2**63), most=2**63 - 1)
    return check_labels(engine, np.array(given * count if len(given) == 1 else given, np.int64), count)
