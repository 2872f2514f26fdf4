from __future__ import annotations

import doctest

import numpy as np
import pytest
from spoiled_engines import GREY, grey, pair

from glow_deploy.directions import reach, soundness
from glow_deploy.directions.soundness import Soundness, bisect, examine, round_trip_limits
from glow_deploy.errors import UnsoundModelError, UsageError


def beyond(edge, value):
    """Spoil decodes of the rows whose z1 is above an edge."""

    def spoil(feeds, out):
        out["x"][feeds["z1"].max(axis=(1, 2, 3)) > edge] = value

    return spoil


@pytest.mark.parametrize("module", [soundness, reach])
def test_the_examples_hold(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_what_is_examined():
    def decoded(feeds, out):
        out["x"][1, 0, 0, 0] = np.nan
        out["x"][2, 0, 0, 0] = -np.inf
        out["x"][3, 0, 1, 1] += 4

    seen = examine(*pair(decoded=decoded), grey(5).z)
    x = (GREY // 8 + 0.5) / 32
    np.testing.assert_allclose(seen.overshoot, [0, np.inf, np.inf, x + 3, 0], rtol=1e-6)
    np.testing.assert_allclose(seen.round_trip, [0, np.inf, np.inf, 16, 0], rtol=1e-5, atol=1e-5)
    limits = np.full(5, 0.01)
    assert seen.sound(Soundness(), limits).tolist() == [True, False, False, False, True]
    assert seen.sound(Soundness(margin=10), np.full(5, 17.0)).tolist() == [True, False, False, True, True]
    assert seen.fault(1, Soundness(), 0.01) == "decodes to non-finite values"
    assert "from 0.516 to 4.52, beyond [-2, 3]" in seen.fault(3, Soundness(), 0.01)
    assert "re-encodes 16 away from itself, more than 0.01" in seen.fault(3, Soundness(margin=10), 0.01)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_changes_nothing(batch):
    def decoded(feeds, out):
        out["x"][feeds["z1"][:, 0, 0, 0] > 0.1] += 1

    z = [level + np.float32(0.1) * np.arange(5, dtype=np.float32)[:, None, None, None] for level in grey(5).z]
    seen, whole = (examine(*pair(decoded=decoded), z, batch=size) for size in (batch, 100))
    np.testing.assert_array_equal(seen.x, whole.x)
    np.testing.assert_array_equal(seen.overshoot, whole.overshoot)
    np.testing.assert_array_equal(seen.round_trip, whole.round_trip)
    assert (whole.round_trip > 1).tolist() == [False, True, True, True, True]


def test_a_decode_that_does_not_encode_is_not_sound():
    def encoded(feeds, out):
        out["z2"][0, 0, 0, 0] = np.nan
        out["z1"][1, 1, 0, 0] += 0.1

    seen = examine(*pair(encoded=encoded), grey(3).z)
    np.testing.assert_allclose(seen.round_trip, [np.inf, 0.1, 0], rtol=1e-5, atol=1e-6)
    assert not seen.overshoot.any()
    assert seen.sound(Soundness(), np.full(3, 0.01)).tolist() == [False, False, True]


def test_coarse_engines_get_as_much_more_as_they_need():
    def encoded(feeds, out):
        out["z1"][1] += 0.05

    limits = round_trip_limits(examine(*pair(encoded=encoded), grey(2).z), Soundness(), names=["a", "b"])
    np.testing.assert_allclose(limits, [0.01, 0.2], rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_an_image_that_is_not_inverted_as_it_is_cannot_be_edited(value):
    seen = examine(*pair(decoded=beyond(-9, value)), grey(2).z)
    with pytest.raises(UnsoundModelError, match=r"^a as it is decodes to .* does not invert"):
        round_trip_limits(seen, Soundness(), names=["a", "b"])

    def encoded(feeds, out):
        out["z1"] += 1.1

    with pytest.raises(UnsoundModelError, match=r"^a as it is re-encodes 1\.1 away"):
        round_trip_limits(examine(*pair(encoded=encoded), grey(2).z), Soundness(), names=["a", "b"])


def test_settings_out_of_range():
    for bad in ({"tolerance": 0}, {"tolerance": 2}, {"margin": -1}, {"margin": np.inf}, {"margin": np.nan}):
        with pytest.raises(UsageError):
            Soundness(**bad)
    encoder, decoder = pair()
    with pytest.raises(UsageError, match="needs an encoder"):
        examine(decoder, encoder, grey(1).z)


def test_bisection_asks_only_about_open_rows():
    asked = []

    def holds(rows, values):
        asked.append(rows.tolist())
        return values <= 0.5

    found = bisect(np.array([0.0, 1.0]), np.array([1.0, 1.0]), holds, steps=3)
    assert asked == [[0], [0], [0]]
    assert found.tolist() == [0.5, 1.0]
    assert bisect(np.ones(2), np.ones(2), holds, steps=3).tolist() == [1, 1]
    assert len(asked) == 3
