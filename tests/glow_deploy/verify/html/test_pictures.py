from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from glow_deploy.numerics.worst import WorstImages
from glow_deploy.verify.html.blocks import Reproduce
from glow_deploy.verify.html.pictures import worst_pictures

HOW = Reproduce(command="glow-deploy verify bundle --report report.html")


def kept(x, x_hat, *, index=0, images="golden", encode="a", decode="b"):
    keeper = WorstImages(1, images=images, encode=encode, decode=decode, n_bits=8)
    keeper.add(x_hat[None], x[None], first=index)
    return keeper.images()[0]


def decoded(picture):
    from PIL import Image

    header, data = picture.uri.split(",")
    assert header == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def strip_of(x, x_hat):
    (block,) = worst_pictures([kept(x, x_hat)], n_bits=8, reproduce=HOW)
    (strip,) = block.strips
    return strip


@pytest.mark.parametrize("channels", [1, 3])
def test_original_reconstruction_and_enlarged_difference(channels):
    x = np.full((channels, 4, 6), 0.252, dtype=np.float32)
    x_hat = x.copy()
    x_hat[0, 1, 2] += 2.0**-12
    x_hat[0, 2, 2] -= 2.0**-13
    original, back, difference = (decoded(picture) for picture in strip_of(x, x_hat).pictures)
    assert np.all(original == 64)
    assert np.all(back == 64)
    plane = difference if channels == 1 else difference[..., 0]
    assert plane[1, 2] >= 250  # 2^-12 enlarged 2000 times is 0.49
    assert 60 <= plane[2, 2] <= 68
    others = np.ones(plane.shape, dtype=bool)
    others[1:3, 2] = False
    assert np.all(plane[others] == 128)


def test_the_factor_is_round_and_stated():
    x = np.zeros((1, 4, 4), dtype=np.float32)
    strip = strip_of(x, x + np.float32(2.0**-12))
    assert strip.pictures[2].label == "difference x 2,000"
    assert "0.064 pixel steps" in strip.note
    assert "Encode a, decode b" in strip.note
    assert "0.062 pixel steps" in strip.heading


def test_lost_pixels_are_magenta_and_counted():
    x = np.full((1, 4, 4), 0.5, dtype=np.float32)
    x_hat = x.copy()
    x_hat[0, 0, 0], x_hat[0, 3, 3] = np.nan, np.inf
    strip = strip_of(x, x_hat)
    assert "2 non-finite values" in strip.heading
    for picture in strip.pictures[1:]:
        shown = decoded(picture)
        assert shown[0, 0].tolist() == shown[3, 3].tolist() == [255, 0, 255]
        assert shown[1, 1].tolist() != [255, 0, 255]
    assert decoded(strip.pictures[0]).ndim == 2


def test_an_exact_image_has_no_factor():
    x = np.full((3, 4, 4), 0.5, dtype=np.float32)
    strip = strip_of(x, x.copy())
    assert strip.pictures[2].label == "difference"
    assert "No difference that float32 resolves" in strip.note


@pytest.mark.parametrize("error", [1e-38, 1e3, 3e38])
def test_any_finite_error_has_a_factor(error):
    x = np.zeros((1, 4, 4), dtype=np.float32)
    strip = strip_of(x, x + np.float32(error))
    assert strip.pictures[2].label.startswith("difference x ")
    assert decoded(strip.pictures[2]).max() <= 255


def test_each_image_is_shown_once_from_its_worst_cell_and_at_most_six_of_a_set():
    x = np.zeros((1, 4, 4), dtype=np.float32)
    pictures = [
        kept(x, x + np.float32(scale * (index + 1)), index=index, images=images, decode=decode)
        for images in ("golden", "data")
        for decode, scale in (("mild", 1e-4), ("harsh", 1e-3))
        for index in range(9)
    ]
    blocks = worst_pictures(pictures, n_bits=8, reproduce=HOW)
    assert [block.title for block in blocks] == ["golden: the 6 worst", "data: the 6 worst"]
    for block in blocks:
        assert [strip.heading.split(":")[0] for strip in block.strips] == [f"Image {i}" for i in (8, 7, 6, 5, 4, 3)]
        assert all("harsh" in strip.note for strip in block.strips)


@pytest.mark.parametrize(("side", "shown"), [(8, 144), (28, 168), (144, 144), (256, 256)])
def test_small_images_are_enlarged_by_whole_pixels(side, shown):
    x = np.zeros((1, side, side), dtype=np.float32)
    picture = strip_of(x, x).pictures[0]
    assert (picture.width, picture.height) == (shown, shown)
