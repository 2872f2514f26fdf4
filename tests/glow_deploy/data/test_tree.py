import numpy as np
import pytest

from glow_deploy.data.fit import Fit
from glow_deploy.data.tree import PictureTree, missing_folder, tree_parts
from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes


def _parts(names, **options):
    encoded = [png_bytes(np.full((1, 2, 2), row, np.uint8)) for row in range(len(names))]
    tree = PictureTree(description="set", names=names, load=encoded.__getitem__, root="set/", **options)
    return {part: make() for part, make in tree_parts(tree, fit=Fit()).items()}


def _rows(images):
    return images.batch(range(len(images)))[:, 0, 0, 0].tolist()


def test_folders_that_everything_lies_in_count_for_nothing():
    parts = _parts(["x/y/train/a/0.png", "x/y/train/b/1.png", "x/y/test/b/2.png"])
    assert {name: _rows(images) for name, images in parts.items()} == {"train": [0, 1], "test": [2]}
    assert (parts["test"].class_names, parts["test"].labels.tolist()) == (("a", "b"), [1])
    assert parts["test"].name(0) == "set/x/y/test/b/2.png"


def test_a_set_that_is_all_of_one_split_keeps_it():
    assert list(_parts(["train/0.png", "train/1.png"])) == ["train"]


def test_of_two_folders_for_a_split_the_first_name_counts():
    parts = _parts(["train/0.png", "val/1.png", "validation/2.png"])
    assert _rows(parts["validation"]) == [2]


def test_pictures_beside_folders_have_no_classes():
    whole = _parts(["a/0.png", "b/1.png", "2.png"])["whole"]
    assert whole.labels is None
    assert _parts(["a/0.png", "b/1.png"])["whole"].labels.tolist() == [0, 1]


def test_labels_of_the_source_come_before_those_of_folders():
    whole = _parts(["a/0.png", "b/1.png"], labels=np.array([5, 7]))["whole"]
    assert (whole.labels.tolist(), whole.class_names) == ([5, 7], ())


def test_splits_can_be_found_elsewhere():
    parts = _parts(["0.png", "1.png"], divide=lambda names: ({"train": [1], "test": [0]}, "as told"))
    assert (_rows(parts["train"]), parts["test"].notes) == ([1], ("as told",))


def test_without_pictures_it_says_what_is_there():
    with pytest.raises(DataError, match=r"set: no pictures there .*; 2 others"):
        _parts([], notes=("2 others",))
    assert (
        missing_folder("set")("validation") == "set has no folder for the split validation; it may be named validation"
    )
