from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.data import ImageSet
from glow_deploy.directions import directions
from glow_deploy.directions import files as direction_files
from glow_deploy.directions.directions import DirectionSettings, measure_directions
from glow_deploy.directions.files import load_directions, save_directions
from glow_deploy.directions.labelled import LabelledImages
from glow_deploy.directions.soundness import Soundness
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.latents import EncodeSettings, encode_images
from glow_deploy.protocol import TensorSpec

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


@pytest.fixture(scope="module")
def found():
    return measure_directions(*example_pair(), toys(), model_id=MODEL)


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


# --- files

INPUTS = example_pair()[1].inputs


@pytest.fixture
def path(tmp_path, found):
    save_directions(tmp_path / "toys.directions.npz", found)
    return tmp_path / "toys.directions.npz"


def test_files_round_trip(path, found):
    first = path.read_bytes()
    read = load_directions(path, INPUTS, model_id=MODEL)
    assert (read.model_id, read.source, read.names) == (MODEL, "toys", found.names)
    assert (read.limit, read.survival, read.soundness) == (found.limit, found.survival, found.soundness)
    for one, other in zip(read.attributes, found.attributes, strict=True):
        for level, same in zip(one.vectors, other.vectors, strict=True):
            np.testing.assert_array_equal(level, same)
        assert replace(one, vectors=()).__dict__ == replace(other, vectors=()).__dict__
    save_directions(path, read)
    assert path.read_bytes() == first
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert load_directions(path, INPUTS, model_id=None).names == found.names


def test_directions_of_another_model_are_refused(path):
    with pytest.raises(DataError, match=r"made for the model 0123456789ab\.\.\., this is ffffffffffff"):
        load_directions(path, INPUTS, model_id="f" * 64)
    with pytest.raises(DataError, match="`w1` is float32"):
        load_directions(path, example_pair(size=(8, 8))[1].inputs, model_id=None)
    three = (*INPUTS, TensorSpec(name="z3", dtype="float32", shape=(2, 1, 1)))
    with pytest.raises(DataError, match="lacks w3"):
        load_directions(path, three, model_id=None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": np.array("glow-deploy directions 2")}, "no directions of this version"),
        ({"format": None}, "no directions of this version"),
        ({"format": np.array(1)}, "`format` must be one text"),
        ({"model_id": np.array("0" * 63)}, "no sha256"),
        ({"model_id": None}, "`model_id` must be one text"),
        ({"source": np.array("x" * 5000)}, "`source` must be one text"),
        ({"names": None}, "`names` must be a list"),
        ({"names": np.array(["a", "b", "b"])}, "'b' twice"),
        ({"names": np.zeros(5000, "U1")}, "names 5000 attributes; 4096 at most"),
        ({"names": np.array(["a", "b", "\x1b[31m"])}, "cannot name an attribute"),
        ({"names": np.array(["a", "b"])}, "is int64 .* is due"),
        ({"w1": np.full((3, 2, 2, 2), np.nan, np.float32)}, "`w1` holds values that are not finite"),
        ({"w2": np.full((3, 2, 2, 2), 1e300)}, "`w2` holds values that are not finite"),
        ({"w1": np.zeros((3, 2, 2, 2), np.int64)}, "`w1` is int64"),
        ({"w1": np.array([{}], dtype=object)}, "Python objects"),
        ({"w3": np.zeros((3, 2, 2, 2), np.float32)}, "has w3"),
        ({"more": np.zeros(1)}, "has more"),
        ({"auc": None}, "lacks auc"),
        ({"auc": np.array([0.5, 0.5, 1.1])}, "an AUC must lie"),
        ({"auc_by_level": np.full((3, 2), -0.1)}, "an AUC must lie"),
        ({"counts": np.zeros((3, 2), np.int64)}, "numbers of images"),
        ({"range": np.array([[0.5, 1]] * 3)}, "a range must go"),
        ({"range": np.array([[-1, 9.0]] * 3)}, "within the limit"),
        ({"range_median": np.array([[-9, 1.0]] * 3)}, "within the limit"),
        ({"limit": np.array(np.inf)}, "not finite"),
        ({"limit": np.array(-1.0)}, "`limit` must"),
        ({"survival": np.array(0.0)}, "`survival`"),
        ({"tolerance": np.array(0.0)}, "tolerance must lie"),
        ({"margin": np.array(-1.0)}, "margin must be"),
    ],
)
def test_files_that_cannot_be_are_refused_in_one_line(path, change, reason):
    load_directions(path, INPUTS, model_id=MODEL)
    with np.load(path) as held:
        arrays = dict(held) | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=reason) as caught:
        load_directions(path, INPUTS, model_id=MODEL)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_such_file(path):
    whole = path.read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:-30], whole[: len(whole) // 2], b"name,hat\na,1\n"):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            load_directions(path, INPUTS, model_id=MODEL)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_directions(path.with_name("absent"), INPUTS, model_id=MODEL)
