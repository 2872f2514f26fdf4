from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.images import CAPTION_HEIGHT, caption_columns, caption_rows

PICTURE = np.full((3, 68, 134), 200, np.uint8)


def test_columns_get_words_above_and_the_picture_stays():
    found = caption_columns(PICTURE, ["one", "two"])
    assert found.shape == (3, CAPTION_HEIGHT + 68, 134)
    assert (found[:, CAPTION_HEIGHT:] == PICTURE).all()
    band = found[0, :CAPTION_HEIGHT]
    assert band[:, :67].min() < 128 and band[:, 67:].min() < 128  # noqa: PT018
    assert (band[:, 60:74] > 200).all()  # each stands over its own column


def test_a_long_caption_is_made_smaller():
    band = caption_columns(PICTURE, ["a rather long caption", "two"])[0, :CAPTION_HEIGHT]
    assert (band[:, 66:70] > 128).all()


def test_rows_get_words_to_the_left():
    found = caption_rows(PICTURE, ["T=0", "T=1"])
    assert found.shape[:2] == (3, 68)
    assert (found[:, :, -134:] == PICTURE).all()


@pytest.mark.parametrize("caption", [caption_rows, caption_columns])
def test_no_captions_are_an_error(caption):
    with pytest.raises(DataError, match="at least one"):
        caption(PICTURE, [])
