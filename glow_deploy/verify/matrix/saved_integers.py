"""What another program made of an exact bundle's golden images, compared for equality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from glow_deploy.artifact.golden import Golden
from glow_deploy.engines.exact import ExactEngine
from glow_deploy.offline import SavedOutputs
from glow_deploy.offline.tensors import moved_integers
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.backends.saved import SAVED
from glow_deploy.verify.report.exact import ExactRow
from glow_deploy.verify.report.verification import GOLDEN_SET

from .integers import INTEGERS, PIXELS, decode

__all__ = ["compare_saved"]


def compare_saved(saved: SavedOutputs, golden: Golden, backends: Sequence[Backend]) -> Iterator[ExactRow]:
    """Compare integers with the golden ones, pixels of integers with those made here, and its own round trip.

    Args:
        saved: of the first N golden images.
        golden: images and integers.
        backends: the first whose engines are `ExactEngine`s decodes the integers that the program was fed with: what is
            due is not stored anywhere.
    """
    n = saved.images
    if not n:
        return
    assert golden.integers is not None  # an exact bundle's
    if saved.integers is not None:
        pairs = [(want[:n], have) for want, have in zip(golden.integers, saved.integers, strict=True)]
        yield _row(INTEGERS, GOLDEN_SET, pairs, np.ones(n), saved.in_range.get("encoder"))
    here = next((part for part in backends if isinstance(part.decoder, ExactEngine)), None)
    if saved.of_integers is not None and here is not None:
        y = None if golden.y is None else golden.y[:n]
        x, in_range = decode(here, [z[:n] for z in moved_integers(golden.integers)], y)
        yield _row(PIXELS, here.name, [(x, saved.of_integers)], in_range, saved.in_range.get("decoder"))
    if saved.returned is not None:
        yield _row(PIXELS, SAVED, [(golden.x[:n], saved.returned)], np.ones(n), saved.in_range.get("round_trip"))


def _row(
    what: str,
    first: str,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    due: np.ndarray,
    in_range: np.ndarray | None,
) -> ExactRow:
    """Count what differs, in all rows: the golden images are in range."""
    n = len(due)
    values = sum(want.size for want, _ in pairs)
    differing = sum(int((want != have).sum()) for want, have in pairs)  # NaN differs from everything
    if in_range is not None:
        values, differing = values + n, differing + int((in_range != due).sum())
    return ExactRow(
        what=what, images=GOLDEN_SET, first=first, second=SAVED, n=n, values=values, differing=differing, outside=0
    )
