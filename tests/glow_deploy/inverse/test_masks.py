import numpy as np
import pytest
from PIL import Image, ImageOps

from glow_deploy.errors import DataError, UsageError
from glow_deploy.inverse.masks import box_mask, fitted_boxes, parse_box, read_mask


def test_white_and_transparent_are_missing(tmp_path):
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[..., 3] = 255
    picture[0, :, :3] = 255
    picture[1, :, 3] = 0
    picture[2, :, :3] = 127
    Image.fromarray(picture, "RGBA").save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", size=(4, 4)).all(axis=1), [True, True, False, False])


def test_a_mask_of_another_size_needs_resize(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="resize=True"):
        read_mask(tmp_path / "mask.png", size=(4, 4))
    found = read_mask(tmp_path / "mask.png", size=(4, 4), resize=True)
    np.testing.assert_array_equal(found, np.broadcast_to([False, False, True, True], (4, 4)))


@pytest.mark.parametrize(("level", "words"), [(0, "nothing as missing"), (255, "every pixel as missing")])
def test_a_mask_of_one_kind_is_refused(tmp_path, level, words):
    Image.fromarray(np.full((4, 4), level, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=words):
        read_mask(tmp_path / "mask.png", size=(4, 4))


def test_boxes_add_up():
    mask = box_mask([(0, 0, 1, 2), (2, 1, 2, 1)], size=(4, 3))
    assert mask.astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("box", [(0, 0, 5, 1), (0, 0, 0, 1), (3, 3, 1, 2), (-1, 0, 1, 1)])
def test_a_box_outside_is_refused(box):
    with pytest.raises(UsageError, match="does not lie inside"):
        box_mask([box], size=(4, 4))


def test_a_box_of_everything_is_refused():
    with pytest.raises(DataError, match="every pixel"):
        box_mask([(0, 0, 4, 4)], size=(4, 4))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,0,1,1", "-1,0,1,1", "1.5,0,1,1", "9" * 5000 + ",0,1,1"])
def test_what_is_no_box(text):
    with pytest.raises(UsageError, match="top,left,height,width"):
        parse_box(text)


@pytest.mark.parametrize(
    ("held", "size"), [((8, 8), (4, 4)), ((8, 16), (4, 4)), ((20, 9), (4, 4)), ((30, 17), (6, 8)), ((3, 3), (6, 6))]
)
def test_boxes_land_where_the_picture_reader_puts_their_pixels(held, size):
    """A white box on black: every pixel that it brightens lies in the fitted box."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        top, left = rng.integers(0, held[0] - 1), rng.integers(0, held[1] - 1)
        height, width = rng.integers(1, held[0] - top + 1), rng.integers(1, held[1] - left + 1)
        box = (int(top), int(left), int(height), int(width))
        if height * width == held[0] * held[1]:
            continue
        white = Image.fromarray(box_mask([box], size=held).astype(np.uint8) * 255)
        # Shares of an area, where the reader's own filter reaches farther.
        shares = np.asarray(ImageOps.fit(white.convert("F"), size[::-1], method=Image.Resampling.BOX))
        try:
            fitted = fitted_boxes([box], held=held, size=size)
        except UsageError:
            assert not (shares > 0.5).any()
            continue
        inside = np.zeros(size, bool)
        first, start, tall, wide = fitted[0]
        inside[first : first + tall, start : start + wide] = True
        if held[0] >= size[0] and held[1] >= size[1]:
            assert not (shares[~inside] > 0).any()


def test_boxes_outside_are_refused():
    with pytest.raises(UsageError, match="does not lie inside an image of 8x8"):
        fitted_boxes([(0, 0, 9, 1)], held=(8, 8), size=(4, 4))
    with pytest.raises(UsageError, match="cropped away when 8x16 pixels are fitted to 4x4"):
        fitted_boxes([(0, 0, 8, 3)], held=(8, 16), size=(4, 4))
