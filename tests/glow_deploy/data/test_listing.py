import json

import numpy as np
import pytest

from glow_deploy.data import open_images
from glow_deploy.data.listing import list_pictures, read_listing, restore_pictures
from glow_deploy.errors import DataError
from glow_deploy.images import write_png


@pytest.fixture
def folder(tmp_path):
    for number in range(20):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, np.full((1, 4, 4), number, np.uint8))
    return tmp_path / "set"


def _content(images):
    return images.batch(range(len(images)))[:, 0, 0, 0].tolist()


def _listed(folder):
    opened = open_images(folder)
    train, validation = opened.take("train"), opened.take("validation")
    return _content(train), _content(validation), list_pictures(opened)


def _restored(folder, listing, *, skip=False):
    opened = open_images(folder, skip_unreadable=True, decode=False)
    restore_pictures(opened, listing, skip_unreadable=skip)
    return opened


def test_a_listing_is_read_as_it_was_written(folder, tmp_path):
    listing = _listed(folder)[2]
    listing.write(tmp_path / "images.json")
    assert read_listing(tmp_path / "images.json") == listing
    assert read_listing(tmp_path / "nothing.json") is None
    assert listing.parts["whole"].names[:2] == ("a/00.png", "a/02.png")
    assert listing.parts["whole"].labels == (0,) * 10 + (1,) * 10


def test_pictures_that_came_later_change_nothing(folder):
    train, validation, listing = _listed(folder)
    write_png(folder / "a" / "000.png", np.full((1, 4, 4), 99, np.uint8))
    (folder / "a" / "001.png").write_bytes(b"damaged")
    opened = _restored(folder, listing)
    assert (_content(opened.take("train")), _content(opened.take("validation"))) == (train, validation)
    assert any("1 picture is left out that the run did not begin with" in note for note in opened.part("whole").notes)


@pytest.mark.parametrize("how", ["gone", "damaged", "cut short"])
def test_others_stand_in_for_what_is_lost(folder, how):
    train, _, listing = _listed(folder)
    path = folder / "b" / "03.png"
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"damaged" if how == "damaged" else path.read_bytes()[:50])
    if how != "cut short":  # what only decoding shows is found by decoding
        with pytest.raises(DataError, match=r"1 picture of 20 .*b/03\.png.*or pass skip_unreadable=True"):
            _restored(folder, listing)
    opened = _restored(folder, listing, skip=True)
    assert [left.name for left in opened.part("whole").left_out] == [str(path)]
    found = opened.take("train")
    assert _content(found) == [5 if number == 3 else number for number in train]
    assert found.stand_ins.tolist() == [train.index(3)]
    # Known from now on, even where the picture comes back.
    again = list_pictures(opened)
    assert again.parts["whole"].lost == ("b/03.png",)
    write_png(path, np.full((1, 4, 4), 3, np.uint8))
    assert _content(_restored(folder, again).take("train")) == _content(found)


def test_other_sets_are_told(folder, tmp_path):
    listing = _listed(folder)[2]
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 4, 4), np.uint8))
    assert list_pictures(_opened(tmp_path / "a.npz")) is None
    with pytest.raises(DataError, match="these are none"):
        _restored(tmp_path / "a.npz", listing)
    (tmp_path / "other").mkdir()
    write_png(tmp_path / "other" / "x.png", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(DataError, match="none of the 20 pictures of the run is there"):
        _restored(tmp_path / "other", listing)
    (folder / "train").mkdir()
    write_png(folder / "train" / "x.png", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no part named whole"):
        _restored(folder, listing)


def _opened(path):
    opened = open_images(path)
    opened.take("train")
    return opened


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 2, "parts": {}}',
        json.dumps({"version": 1, "parts": {"elsewhere": {"names": ["a"], "labels": None, "lost": []}}}).encode(),
        json.dumps({"version": 1, "parts": {"whole": {"names": ["a", "a"], "labels": None, "lost": []}}}).encode(),
        json.dumps({"version": 1, "parts": {"whole": {"names": [1], "labels": None, "lost": []}}}).encode(),
        json.dumps({"version": 1, "parts": {"whole": {"names": ["a"], "labels": ["x"], "lost": []}}}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_damaged_listing_is_one_clear_error(tmp_path, content):
    (tmp_path / "images.json").write_bytes(content)
    with pytest.raises(DataError, match=r"images\.json is damaged") as raised:
        read_listing(tmp_path / "images.json")
    assert "\n" not in str(raised.value)
