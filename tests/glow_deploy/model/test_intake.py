from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from glow_deploy.errors import DataError
from glow_deploy.model.intake import take_images

SHAPE = (3, 4, 6)
VALUES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
LAST = np.ascontiguousarray(VALUES.transpose(0, 2, 3, 1))


def take(images, **options):
    return take_images(images, shape=SHAPE, n_bits=8, **options)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, pixels in zip(paths, LAST, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def test_every_kind_gives_the_same_values(files):
    kinds = [
        VALUES, LAST, list(VALUES), list(LAST), files, [str(path) for path in files],
        [Image.fromarray(pixels) for pixels in LAST], [files[0], Image.fromarray(LAST[1])],
        (VALUES.astype(np.float32) + 0.5) / 256, (VALUES.astype(np.float64) + 0.25) / 256,
    ]  # fmt: skip
    for images in kinds:
        assert np.array_equal(take(images), VALUES)
    for one in (VALUES[0], LAST[0], files[0], str(files[0]), Image.fromarray(LAST[0])):
        assert np.array_equal(take(one), VALUES[:1])


def test_floats_are_taken_as_the_pixel_they_lie_in():
    x = np.full(SHAPE, 0.99, np.float32)
    found = take_images(x, shape=SHAPE, n_bits=2)
    assert set(found.ravel()) == {255}  # the fourth of four pixels, shown as the whitest of 256
    assert set(take_images(np.full(SHAPE, 0.3), shape=SHAPE, n_bits=2).ravel()) == {85}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "no images"),
        (VALUES[:0], "holds no images"),
        (VALUES[:, :2], r"give \[3,4,6\] or \[4,6,3\]"),
        (VALUES.astype(np.int64), "int64"),
        (VALUES.astype(np.float32), r"x in \[0, 1\)"),
        (np.full(SHAPE, np.nan), r"x in \[0, 1\)"),
        (np.full((4, 6, 3), 0.5), r"give \[3,4,6\]"),
        ([None], "NoneType is no image"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_image_is_told(images, said):
    with pytest.raises(DataError, match=said):
        take(images)


def test_pictures_of_another_size_need_resize(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "big.png")
    with pytest.raises(DataError, match="resize=True"):
        take(tmp_path / "big.png")
    assert take(tmp_path / "big.png", resize=True).shape == (1, *SHAPE)


def test_an_array_of_another_size_is_refused_and_resize_does_not_help():
    for images in (np.zeros((8, 8, 3), np.uint8), [np.zeros((8, 8, 3), np.uint8)], np.zeros((3, 8, 8))):
        with pytest.raises(DataError, match=r"holds no images of this model; give [^;]*$"):
            take(images)
        with pytest.raises(DataError, match=r"resize=True is for files and PIL images: PIL\.Image\.fromarray"):
            take(images, resize=True)
    assert np.array_equal(take(VALUES, resize=True), VALUES)


@pytest.mark.parametrize("kind", ["file", "PIL"])
def test_only_real_transparency_needs_resize(tmp_path, kind):
    def given(image):
        if kind == "PIL":
            return image
        image.save(tmp_path / "a.png")
        return tmp_path / "a.png"

    opaque = Image.fromarray(LAST[0]).convert("RGBA")
    assert np.array_equal(take(given(opaque)), VALUES[:1])
    hole = opaque.copy()
    hole.putpixel((1, 2), (9, 9, 9, 254))
    with pytest.raises(DataError, match=r"transparent in places, .* pass resize=True to lay it over white"):
        take(given(hole))
    clear = Image.new("RGBA", (6, 4), (1, 2, 3, 0))
    assert take(given(clear), resize=True).min() == 255
    found = take(given(hole), resize=True)
    assert np.array_equal(np.delete(found.reshape(3, -1), 13, axis=1), np.delete(VALUES[0].reshape(3, -1), 13, axis=1))


def test_grey_pictures_become_colour_without_a_change_of_value():
    grey = VALUES[0, 0]
    assert np.array_equal(take(Image.fromarray(grey)), np.stack([grey] * 3)[None])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_pil_images_that_png_has_not_become_rgb(mode):
    image = Image.new("RGB", (6, 4), (200, 100, 50)).convert("RGB")
    image = image.convert(mode) if mode != "LAB" else Image.new("LAB", (6, 4), (255, 128, 128))
    assert take(image).shape == (1, *SHAPE)


def test_pil_images_that_cannot_be_read_are_told():
    with pytest.raises(DataError, match=r"a PIL image of mode F cannot be read .*convert it to RGB or L"):
        take(Image.new("F", (6, 4)))
    with pytest.raises(DataError, match="a PIL image"):
        take(Image.new("RGB", (0, 4)))


def test_pictures_go_in_a_list_too(bundles):
    import glow_deploy

    with glow_deploy.load(bundles["plain"]) as model:
        pictures = model.sample(3)
        assert np.array_equal(model.encode(list(pictures)).z[0], model.encode(pictures).z[0])
