import pytest

from glow_deploy.data.fit import Fit
from glow_deploy.data.shape import choose_shape
from glow_deploy.errors import DataError
from glow_deploy.images import Header

NAMES = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]


def _headers(*shapes):
    return [Header(size=(height, width), channels=channels) for channels, height, width in shapes]


def _chosen(headers, **options):
    return choose_shape(headers, NAMES[: len(headers)], fit=Fit(**options), description="set")


def test_alike_pictures_need_no_words():
    assert _chosen(_headers((3, 4, 6), (3, 4, 6))) == ((3, 4, 6), ())


def test_the_first_picture_does_not_decide():
    headers = _headers((3, 9, 9), (3, 4, 6), (3, 4, 6))
    with pytest.raises(DataError) as raised:
        _chosen(headers)
    assert str(raised.value) == (
        "set: 2 of 3 pictures are 6x4 (width x height), 1 are not: a.png (9x9); pass resize=True to crop and resample "
        "them, or take them out"
    )
    shape, notes = _chosen(headers, resize=True)
    assert shape == (3, 4, 6)
    assert notes == (
        "set: 2 of 3 pictures are 6x4 (width x height), the commonest size, so it is taken; 1 is resized: a.png (9x9)",
    )


def test_only_the_first_few_are_named():
    headers = _headers(*[(3, 5, 5)] * 4, *[(3, 9, 9)] * 2)
    with pytest.raises(DataError, match=r"a\.png \(5x5\), b\.png \(5x5\), c\.png \(5x5\) and 1 more; pass"):
        _chosen(headers, size=(9, 9))


def test_the_size_of_the_model_comes_before_the_commonest():
    headers = _headers((3, 9, 9), (3, 4, 6), (3, 4, 6))
    shape, notes = _chosen(headers, size=(9, 9), resize=True)
    assert shape == (3, 9, 9)
    assert "2 of 3 pictures are resized to 9x9: b.png (6x4), c.png (6x4)" in notes[0]
    with pytest.raises(DataError, match="2 of 3 pictures are not 9x9"):
        _chosen(headers, size=(9, 9))
    with pytest.raises(DataError, match=r"^a\.png is 9x9 pixels, the model takes 8x8"):
        _chosen(headers[:1], size=(8, 8))


def test_grey_and_colour_are_settled_by_majority():
    shape, notes = _chosen(_headers((1, 4, 4), (3, 4, 4), (3, 4, 4)))
    assert shape == (3, 4, 4)
    assert "2 of 3 pictures are in colour, so all are taken as such; 1 is grey: a.png" in notes[0]
    grey = _headers((3, 4, 4), (1, 4, 4), (1, 4, 4))
    with pytest.raises(DataError, match=r"1 is in colour: a\.png; pass resize=True to turn them grey, or channels=3"):
        _chosen(grey)
    assert _chosen(grey, resize=True)[0] == (1, 4, 4)
    assert _chosen(grey, channels=3) == ((3, 4, 4), ())
