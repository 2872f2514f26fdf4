import io
import pickle

import numpy as np
import pytest
from PIL import Image

from glow_deploy.data.fit import Fit
from glow_deploy.data.pictures import Pictures, picture_set
from glow_deploy.data.reading import Reading
from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes

VALUES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)


class Loader:
    """Gives pictures of a list, and counts."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.loaded = []

    def __call__(self, row):
        self.loaded.append(row)
        return self.pictures[row]


def _pictures(damage=None, *, cut=()):
    encoded = [png_bytes(value) for value in VALUES]
    for row in cut:
        encoded[row] = encoded[row][:60]
    for row, content in (damage or {}).items():
        encoded[row] = content
    names = [f"{row}.png" for row in range(len(VALUES))]
    return Pictures(
        description="pictures", names=names, load=Loader(encoded), root="set/", labels=np.arange(6) % 2, notes=("seen",)
    )


def test_all_headers_are_read_before_anything_is_asked_for():
    pictures, told = _pictures(), []
    images = picture_set(pictures, fit=Fit(), progress=lambda done, total: told.append((done, total)))
    assert pictures.load.loaded == list(range(6))
    assert told[-1] == (6, 6)
    assert (images.shape, images.notes, images.name(2)) == ((3, 4, 5), ("seen",), "set/2.png")
    assert np.array_equal(images.batch([5, 1]), VALUES[[5, 1]])
    assert images.batch([]).shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({4: b"no picture"}, "set/4.png is not a picture.*; pass skip_unreadable=True to leave it out"),
        ({1: b"", 4: b"no"}, "2 of 6 pictures cannot be read; the first: set/1.png.*skip_unreadable=True"),
        (dict.fromkeys(range(6), b"no"), "none of 6 pictures can be read; the first: set/0.png"),
    ],
)
def test_damaged_headers_are_refused_at_once(damage, words):
    with pytest.raises(DataError, match=words):
        picture_set(_pictures(damage), fit=Fit())


def test_damaged_headers_are_left_out_where_that_is_allowed():
    images = picture_set(_pictures({1: b"", 4: b"no"}), fit=Fit(skip_unreadable=True))
    assert [left.name for left in images.left_out] == ["set/1.png", "set/4.png"]
    assert list(images.names) == ["0.png", "2.png", "3.png", "5.png"]
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(images.batch(range(4)), VALUES[[0, 2, 3, 5]])
    with pytest.raises(DataError, match="none of 6"):
        picture_set(_pictures(dict.fromkeys(range(6), b"")), fit=Fit(skip_unreadable=True))


def test_what_is_damaged_behind_its_header_is_noticed_by_decoding_it():
    images = picture_set(_pictures(cut=[2]), fit=Fit())
    with pytest.raises(DataError, match=r"set/2\.png is damaged or cut short"):
        images.batch([2])
    assert [(row, left.name) for row, left in images.unreadable()] == [(2, "set/2.png")]
    readable = images.readable()
    assert len(readable) == 5
    assert np.array_equal(readable.batch(range(5)), VALUES[[0, 1, 3, 4, 5]])


def test_sets_can_be_sent_to_other_processes():
    images = picture_set(_pictures(), fit=Fit()).select([3, 1])
    assert np.array_equal(pickle.loads(pickle.dumps(images)).batch([0, 1]), VALUES[[3, 1]])


def _deep(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def test_pictures_of_12_bits_in_16_are_noticed():
    values = np.random.default_rng(0).integers(0, 4096, (3, 4, 5), dtype=np.uint16)
    values[1, 0, 0] = 4000
    encoded = [_deep(value) for value in values]
    pictures = Pictures(description="scans", names=["a", "b", "c"], load=Loader(encoded))
    images = picture_set(pictures, fit=Fit())
    assert "so they may have 12 bits; they are taken as 16 and are dark, unless you pass depth=12" in images.notes[0]
    assert np.array_equal(images.batch(range(3))[:, 0], values >> 8)
    told = picture_set(pictures, fit=Fit(), reading=Reading(depth=12))
    assert told.notes == ()
    assert np.array_equal(told.batch(range(3))[:, 0], values >> 4)
    with pytest.raises(DataError, match="which 10 bits cannot hold"):
        picture_set(pictures, fit=Fit(), reading=Reading(depth=10))
    encoded[2] = _deep(values[2] * 16)
    assert picture_set(pictures, fit=Fit()).notes == ()
