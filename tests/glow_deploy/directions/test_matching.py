import unicodedata

import pytest

from glow_deploy.directions.matching import match_names
from glow_deploy.errors import DataError

CAFE = "café.png"
PARTS = unicodedata.normalize("NFD", CAFE)


def _match(names, files):
    return match_names(names, files, table="tags.csv", source="set").tolist()


def test_rows_are_found_by_path_or_by_name():
    assert _match(["a/x.png", "b/y.png", "z.png"], ["y.png", "./a/x.png", "gone.png"]) == [1, 0, -1]


@pytest.mark.parametrize("there", [CAFE, PARTS])
@pytest.mark.parametrize("listed", [CAFE, PARTS])
def test_accents_match_however_they_are_spelt(there, listed):
    assert CAFE != PARTS
    assert _match([f"sub/{there}", "x.png"], [listed]) == [0, -1]
    assert _match([f"sub/{there}", "x.png"], [f"sub/{listed}"]) == [0, -1]
    assert _match([CAFE, PARTS], [listed])[[CAFE, PARTS].index(listed)] == 0  # exact names come first


@pytest.mark.parametrize(
    ("names", "files", "words"),
    [
        (["a/x.png", "b/x.png"], ["x.png"], "in more than one subfolder"),
        (["a/x.png"], ["x.png", "a/x.png"], "are the same picture"),
        ([CAFE], [CAFE, PARTS], "are the same picture"),
        (["a.png"], ["../../etc/passwd", "b.png"], "no such pictures are in set"),
    ],
)
def test_what_cannot_be_matched_is_refused(names, files, words):
    with pytest.raises(DataError, match=words):
        _match(names, files)
