"""The parts without a server: pictures, the store, commands, the port."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import DataError, UsageError
from glow_deploy.explore.changes import Change, changed_latents


def test_a_change_of_nothing_leaves_the_latents_to_the_last_bit():
    z = [np.random.default_rng(0).normal(size=(2, 2, 2)).astype(np.float32) for _ in range(2)]
    for old, new in zip(z, changed_latents(z, Change(), other=None, directions=None), strict=True):
        assert np.array_equal(old, new)
        assert new.dtype == np.float32
    with pytest.raises(UsageError, match="directions="):
        changed_latents(z, Change(attributes={"hat": 1.0}), other=None, directions=None)
    with pytest.raises(DataError, match="not of one model"):
        changed_latents(z, Change(share=0.5), other=z[:1], directions=None)
