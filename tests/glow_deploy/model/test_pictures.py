from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

import glow_deploy
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import read_picture
from glow_deploy.model.pictures import Pictures


@pytest.fixture
def pictures():
    """Five of 3x2x2 in 8 bits: the k-th is of value 50 k, and the last is not finite."""
    x = np.repeat((np.arange(5) * 50 + 0.5) / 256, 12).reshape(5, 3, 2, 2)
    x[4, 0, 0, 0] = np.nan
    return Pictures(
        x=x,
        z=(np.arange(5.0)[:, None],),
        finite=np.array([True] * 4 + [False]),
        n_bits=8,
        labels=np.arange(5),
        columns=5,
    )


def test_pixels_are_what_files_hold_and_what_is_not_finite_is_black(pictures):
    assert (pictures.pixels.dtype, pictures.pixels.shape) == (np.uint8, (5, 2, 2, 3))
    assert [sorted({*picture.flat}) for picture in pictures.pixels] == [[0], [50], [100], [150], [0]]
    assert np.isnan(pictures.x).sum() == 1


def test_some_of_them_are_pictures_too(pictures):
    for place, rows in ((2, [2]), (-1, [4]), (slice(1, 3), [1, 2]), ([3, 0], [3, 0]), (pictures.finite, [0, 1, 2, 3])):
        found = pictures[place]
        assert found.labels.tolist() == rows
        assert found.z[0][:, 0].tolist() == rows
        assert np.array_equal(found.x, pictures.x[rows], equal_nan=True)
        assert found.columns is None
    with pytest.raises(IndexError):
        pictures[5]


def test_they_say_how_many_there_are_and_how_many_are_lost(pictures):
    assert len(pictures) == 5
    assert repr(pictures) == "Pictures(5 of 3x2x2, 1 not finite)"
    assert repr(pictures[:2]) == "Pictures(2 of 3x2x2)"


def test_one_image_each_grey_ones_without_an_axis(pictures):
    assert [image.mode for image in pictures.images] == ["RGB"] * 5
    grey = Pictures(x=pictures.x[:2, :1], z=(), finite=pictures.finite[:2], n_bits=8)
    assert [(image.mode, image.getpixel((0, 0))) for image in grey.images] == [("L", 0), ("L", 50)]


def test_the_grid_of_a_file_is_the_one_a_notebook_shows(pictures, tmp_path):
    pictures.save(tmp_path / "grid.png")
    html = pictures._repr_html_()
    assert html.startswith('<img alt="5 pictures" src="data:image/png;base64,')
    with Image.open(io.BytesIO(base64.b64decode(html.partition("base64,")[2].rstrip('">')))) as shown:
        assert np.array_equal(np.asarray(shown).transpose(2, 0, 1), read_picture(tmp_path / "grid.png"))


@pytest.fixture(scope="module")
def sampled(bundles):
    with glow_deploy.load(bundles["plain"]) as model:
        return model.sample(3, seed=4)


def test_numpy_takes_their_pixels(sampled):
    assert np.asarray(sampled).shape == (3, 8, 8, 3)
    assert np.asarray(sampled).dtype == np.uint8
    assert np.array_equal(np.asarray(sampled), sampled.pixels)
    assert np.array_equal(np.asarray(sampled[1]), sampled.pixels[1:2])
    assert np.asarray(sampled, dtype=np.float64).dtype == np.float64
    assert np.stack(list(sampled)).shape == (3, 1, 8, 8, 3)
    assert np.array_equal(np.concatenate(list(sampled)), sampled.pixels)
    with pytest.raises(ValueError, match="uncopied"):
        np.asarray(sampled, copy=False)


def test_a_loop_gives_each_and_ends(sampled):
    ones = list(sampled)
    assert [len(one) for one in ones] == [1, 1, 1]
    assert np.array_equal(ones[2].pixels[0], sampled.pixels[2])
    assert np.array_equal(sampled[-1].z[0], sampled.z[0][2:])
    assert len(sampled[1:]) == len(sampled[[0, 2]]) == len(sampled[np.array([True, False, True])]) == 2
    for place in (3, -4):
        with pytest.raises(IndexError):
            sampled[place]


def test_comparing_and_hashing_is_by_identity(bundles, sampled):
    with glow_deploy.load(bundles["plain"]) as model:
        results = [sampled, model.encode(sampled), model.score(sampled, draws=1)]
    for found in results:
        assert found == found  # it used to raise
        assert (found == results) is False
        assert found in {found}
    assert sampled[0] != sampled[0]


@pytest.mark.parametrize("name", ["zz.npz", "zz.foo", "zz", "zz.jpg", "zz.PNG.txt"])
def test_only_png_files_are_written(sampled, tmp_path, name):
    with pytest.raises(UsageError, match=r"name a \.png file"):
        sampled.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_told(sampled, tmp_path):
    sampled.save(tmp_path / "all.PNG")
    assert Image.open(tmp_path / "all.PNG").format == "PNG"
    with pytest.raises(UsageError, match="path must be a path"):
        sampled.save(None)
    with pytest.raises(UsageError, match="cannot write"):
        sampled.save(tmp_path / "nowhere" / "all.png")
    with pytest.raises(DataError, match="no pictures to save"):
        sampled[[]].save(tmp_path / "none.png")
    assert sampled[[]]._repr_html_() == "<p>Pictures(0 of 3x8x8)</p>"
