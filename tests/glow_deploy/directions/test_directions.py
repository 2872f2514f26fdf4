from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest
from direction_toys import HELD, MODEL, TRAIN, toys

from glow_deploy.directions import directions
from glow_deploy.directions import files as direction_files
from glow_deploy.directions.directions import DirectionSettings, measure_directions
from glow_deploy.directions.soundness import Soundness
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.latents import EncodeSettings, encode_images
from glow_deploy.protocol import TensorSpec


class Classes:
    """The example with classes: class y shifts every latent by y."""

    num_classes = 5

    def __init__(self, engine):
        self._engine = engine
        y = TensorSpec(name="y", dtype="int64", shape=())
        self.inputs = (*engine.inputs, y)
        self.seen: list[int] = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, feeds):
        shift = feeds["y"].astype(np.float32)[:, None, None, None]
        self.seen += feeds["y"].tolist()
        rest = {name: array for name, array in feeds.items() if name != "y"}
        if self.role == "decoder":
            return self._engine.run({name: array - shift for name, array in rest.items()})
        out = self._engine.run(rest)
        return {name: array if name == "log_prob" else array + shift for name, array in out.items()}


@pytest.mark.parametrize("module", [directions, direction_files])
def test_the_examples_hold(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_a_direction_is_the_mean_with_minus_the_mean_without(found):
    images = toys()
    z = encode_images(example_pair()[0], images.train.batch(np.arange(TRAIN)), settings=EncodeSettings(draws=0)).z
    for column, attribute in enumerate(found.attributes):
        have = images.train.attributes[:, column]
        for level, vector in zip(z, attribute.vectors, strict=True):
            exact = level.astype(np.float64)
            assert vector.dtype == np.float32
            np.testing.assert_allclose(vector, exact[have].mean(0) - exact[~have].mean(0), rtol=1e-5, atol=1e-6)
        assert attribute.counts == (have.sum(), (~have).sum())


def test_the_auc_is_of_images_that_the_mean_has_not_seen(found):
    images = toys()
    z = encode_images(example_pair()[0], images.held_out.batch(np.arange(HELD)), settings=EncodeSettings(draws=0)).z
    for column, attribute in enumerate(found.attributes):
        have = images.held_out.attributes[:, column]
        exact = zip(z, attribute.vectors, strict=True)
        by_level = [(level * w.astype(np.float64)).reshape(HELD, -1).sum(1) for level, w in exact]
        for value, scores in zip((attribute.auc, *attribute.auc_by_level), (sum(by_level), *by_level), strict=True):
            pairs = [(a > b) + 0.5 * (a == b) for a in scores[have] for b in scores[~have]]
            assert value == pytest.approx(np.mean(pairs), abs=1e-9)
        assert attribute.held_out == (have.sum(), (~have).sum())
        assert attribute.auc_interval[0] < attribute.auc < attribute.auc_interval[1] or attribute.auc == 1
    left, top, coin = (attribute.auc for attribute in found.attributes)
    # Control: an attribute that cannot be seen is not told apart.
    assert left > 0.97 > top > 0.6
    assert found["coin"].auc_interval[0] < 0.5 < found["coin"].auc_interval[1]
    assert 0.3 < coin < 0.7


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_change_nothing_and_every_image_is_averaged_once(batch, found):
    encoder, decoder = example_pair()
    sizes = []
    run = encoder.run
    encoder.run = lambda feeds: sizes.append(len(feeds["x"])) or run(feeds)
    stages = []
    settings = DirectionSettings(batch=batch, images=4)
    again = measure_directions(
        encoder, decoder, toys(), model_id=MODEL, settings=settings, progress=lambda *report: stages.append(report)
    )
    for one, other in zip(again.attributes, found.attributes, strict=True):
        np.testing.assert_allclose(one.vectors[0], other.vectors[0], rtol=1e-5, atol=1e-6)
        assert one.auc == pytest.approx(other.auc, abs=1e-9)
    assert max(sizes) <= batch
    firsts = -(-TRAIN // batch)
    assert sum(sizes[:firsts]) == TRAIN
    last = [report for report in stages if report[0] == "averaging latents"][-1]
    assert last[1:] == (TRAIN, TRAIN)
    assert stages[-1] == ("searching ranges", 3, 3)


def test_ranges_end_where_a_picture_leaves_the_range(found):
    """z = 4 (x - 0.5): `left` moves x by w / 4, and [-2, 3] is the range."""
    assert [attribute.range for attribute in found.attributes[1:]] == [(-3, 3)] * 2
    tight = measure_directions(
        *example_pair(),
        toys(),
        model_id=MODEL,
        settings=DirectionSettings(soundness=Soundness(margin=0.05), limit=6, survival=1),
    )["left"]
    images = toys().held_out
    x = (images.batch(np.arange(HELD)) // 8 + 0.5) / 32
    move = np.concatenate([level.ravel() for level in tight.vectors]).reshape(2, 2, 2, 2)  # of the four squeezed pixels
    step = move.transpose(2, 0, 3, 1).reshape(4, 4) / 4
    for sign, reach, have in ((1, tight.adding, False), (-1, tight.removing, True)):
        rows = np.flatnonzero(images.attributes[:, 0] == have)
        rows = rows[np.arange(min(32, len(rows))) * len(rows) // min(32, len(rows))]
        way = sign * step
        edge = np.where(way > 0, (1.05 - x[rows, 0]) / way, (-0.05 - x[rows, 0]) / way).min()
        assert edge - 6 / 6 / 2**4 <= reach.amount <= min(edge, 6)
        assert reach.images == len(rows)


def test_what_too_few_images_have_is_left_out_and_said():
    found = measure_directions(*example_pair(), toys(rare=9), model_id=MODEL)
    assert found.names == ("left", "top")
    assert found.left_out == {"coin": "only 9 averaged with it, 9 held-out with it (at least 10 needed)"}
    assert measure_directions(
        *example_pair(), toys(rare=9), model_id=MODEL, settings=DirectionSettings(fewest=9)
    ).names == ("left", "top", "coin")
    with pytest.raises(DataError, match=r"toys: no attribute has enough images \(left: only"):
        measure_directions(*example_pair(), toys(), model_id=MODEL, settings=DirectionSettings(fewest=70))


def test_classes_are_those_of_the_set_or_the_one_given():
    labels = np.arange(TRAIN + HELD) % 5
    images = toys(labels=labels)
    plain = measure_directions(*example_pair(), images, model_id=MODEL)  # a model without classes takes none
    for settings, wanted in ((DirectionSettings(), labels[:TRAIN]), (DirectionSettings(label=3), [3] * TRAIN)):
        encoder, decoder = map(Classes, example_pair())
        measure_directions(encoder, decoder, images, model_id=MODEL, settings=settings)
        assert encoder.seen[:TRAIN] == list(wanted)
        assert set(decoder.seen) == set(wanted)
    one = measure_directions(*map(Classes, example_pair()), images, model_id=MODEL, settings=DirectionSettings(label=3))
    np.testing.assert_allclose(one["left"].vectors[0], plain["left"].vectors[0], atol=1e-5)
    best = measure_directions(
        *map(Classes, example_pair()), images, model_id=MODEL, settings=DirectionSettings(best_class=True)
    )
    assert best.names == plain.names
    with pytest.raises(UsageError, match="is class-conditional"):
        measure_directions(*map(Classes, example_pair()), toys(), model_id=MODEL)
    with pytest.raises(UsageError, match="not class-conditional"):
        measure_directions(*example_pair(), toys(), model_id=MODEL, settings=DirectionSettings(label=1))
    with pytest.raises(DataError, match="no class 7"):
        measure_directions(*map(Classes, example_pair()), images, model_id=MODEL, settings=DirectionSettings(label=7))


def test_bad_settings_and_engines():
    for bad in ({"fewest": 0}, {"images": 0}, {"batch": 0}, {"limit": 0}, {"limit": np.nan}, {"survival": 0}):
        with pytest.raises(UsageError):
            DirectionSettings(**bad)
    with pytest.raises(UsageError, match="leave one"):
        DirectionSettings(label=1, best_class=True)
    encoder, decoder = example_pair()
    with pytest.raises(UsageError, match="needs an encoder"):
        measure_directions(decoder, encoder, toys(), model_id=MODEL)
    run = encoder.run
    encoder.run = lambda feeds: {name: array * np.nan for name, array in run(feeds).items()}
    with pytest.raises(UnsoundModelError, match="image 0 of toys"):
        measure_directions(encoder, decoder, toys(), model_id=MODEL)


def test_names_are_found_whatever_their_case(found):
    assert found["LEFT"].name == "left"
    with pytest.raises(UsageError, match=r"no direction for 'nose'; there are left, top, coin"):
        found["nose"]
    both = replace(found, attributes=(replace(found["left"], name="Left"), found["left"]))
    assert both["Left"].name == "Left"
    with pytest.raises(UsageError, match="LEFT"):
        both["LEFT"]
