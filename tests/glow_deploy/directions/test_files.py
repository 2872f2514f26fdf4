from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from direction_toys import MODEL

from glow_deploy.directions.files import load_directions, save_directions
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError
from glow_deploy.protocol import TensorSpec

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
        ({"tolerance": np.array(0.0)}, "tolerance must be a number above 0"),
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
