from __future__ import annotations

import doctest

import numpy as np
import pytest

from glow_deploy.directions import reach, soundness
from glow_deploy.directions.reach import measure_reach
from glow_deploy.directions.soundness import Soundness, bisect, examine, round_trip_limits
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import UnsoundModelError, UsageError
from glow_deploy.latents import encode_images

GREY = 128
STEP = [np.full((2, 1, 1), 4.0)] * 2  # of z = 4 (x - 0.5): x moves by 1


class Spoiled:
    """An engine whose outputs are changed: `spoil` gets the inputs and copies of the outputs, and changes those."""

    def __init__(self, engine, spoil):
        self._engine, self._spoil = engine, spoil

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, feeds):
        out = {name: array.copy() for name, array in self._engine.run(feeds).items()}
        self._spoil(feeds, out)
        return out


def pair(*, decoded=None, encoded=None):
    encoder, decoder = example_pair(size=(2, 2))
    nothing = lambda feeds, out: None  # noqa: E731
    return Spoiled(encoder, encoded or nothing), Spoiled(decoder, decoded or nothing)


def grey(count: int):
    return encode_images(example_pair(size=(2, 2))[0], np.full((count, 1, 2, 2), GREY, np.uint8))


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


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("edge", [0.4, 1.9, 2.99])
def test_the_range_ends_where_decodes_break(edge, sign):
    latents = grey(10)
    start = float(latents.z[0].max())

    def spoil(feeds, out):
        out["x"][sign * (feeds["z1"].max(axis=(1, 2, 3)) - start) > 4 * edge] = np.nan

    step = [sign * level for level in STEP]
    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    found = measure_reach(*pair(decoded=spoil), latents, step, **options)
    assert edge - 3 / 6 / 2**4 <= found.amount <= edge
    assert (found.median, found.images) == (found.amount, 10)
    # Control: what never breaks reaches the limit.
    assert measure_reach(*pair(), latents, step, **options).amount == 3


def test_a_hole_on_the_way_ends_the_range():
    latents = grey(4)

    def spoil(feeds, out):
        moved = feeds["z1"].max(axis=(1, 2, 3)) - float(latents.z[0].max())
        out["x"][(moved > 4 * 0.9) & (moved < 4 * 1.1)] = np.inf

    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    assert 0.85 < measure_reach(*pair(decoded=spoil), latents, STEP, **options).amount <= 0.9


@pytest.mark.parametrize(
    ("count", "survival", "lost"), [(40, 0.95, 2), (39, 0.95, 1), (10, 0.95, 0), (10, 0.5, 5), (3, 1.0, 0)]
)
def test_no_more_images_are_lost_than_allowed(count, survival, lost):
    """Image i breaks at i + 1 tenths of the limit."""
    encoder = example_pair(size=(2, 2))[0]
    latents = encode_images(encoder, np.full((count, 1, 2, 2), GREY, np.uint8))
    z2 = latents.z[1]
    z2[:, 1] += 0.001 * np.arange(count)[:, None, None]  # tells the images apart

    def spoil(feeds, out):
        number = np.rint((feeds["z2"][:, 1, 0, 0] - feeds["z2"][:, 0, 0, 0]) / 0.001)
        moved = (feeds["z1"][:, 0, 0, 0] - latents.z[0][0, 0, 0, 0]) / 4
        out["x"][moved > 3 * (number + 1) / (count + 1)] = np.nan

    found = measure_reach(
        *pair(decoded=spoil), latents, STEP, limit=3.0, survival=survival, soundness=Soundness(margin=100)
    )
    edge = 3 * (lost + 1) / (count + 1)
    assert edge - 3 / 6 / 2**4 <= found.amount <= edge + 1e-9
    assert found.median >= found.amount


def test_each_image_is_held_to_its_own_limit():
    """A model that is 0.05 coarse everywhere passes; one that gets coarse on the way does not."""

    def coarse(feeds, out):
        out["z1"] += 0.05

    def worse(feeds, out):
        out["z1"] += np.where(np.abs(out["z1"]) > 4, 0.3, 0.05).astype(np.float32)

    options = {"limit": 3.0, "survival": 0.95, "soundness": Soundness(margin=100)}
    assert measure_reach(*pair(encoded=coarse), grey(4), STEP, **options).amount == 3
    assert measure_reach(*pair(encoded=worse), grey(4), STEP, **options).amount < 1
