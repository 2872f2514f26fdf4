from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.explore.familiarity import GoldenRange, golden_range


def test_the_range_is_that_of_the_golden_images(bundle):
    found = Bundle.open(bundle)
    golden = found.golden()
    bits = 5 - golden.log_prob / (192 * np.log(2))
    told = golden_range(found, golden)
    assert (told.low, told.mean, told.high, told.n) == pytest.approx((bits.min(), bits.mean(), bits.max(), 6))
    assert told.of_data is False  # the fixture's golden images are samples
    assert golden_range(found, None) is None
    assert told.familiar(14.1) == "unknown"


@pytest.mark.parametrize(
    ("bits", "familiar"),
    [
        (2.0, "typical"), (2.5, "typical"), (1.5, "typical"), (2.7, "unusual"), (1.3, "unusual"), (2.76, "foreign"),
        (1.2, "foreign"), (14.1, "foreign"), (float("nan"), "foreign"), (float("inf"), "foreign"),
    ],
)  # fmt: skip
def test_what_is_foreign(bits, familiar):
    """Farther than the farthest golden image is unusual, 1.5 times as far is foreign, on either side."""
    told = GoldenRange(low=1.6, mean=2.0, high=2.5, n=64, of_data=True)
    assert told.familiar(bits) == familiar
    assert dataclasses.replace(told, of_data=False).familiar(bits) == "unknown"
