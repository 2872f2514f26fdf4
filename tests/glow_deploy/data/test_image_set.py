from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.data import ImageSet
from glow_deploy.errors import DataError


def made(count=4, **options):
    values = np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2)
    return ImageSet(description="d", shape=(1, 2, 2), count=count, read=lambda rows: values[rows], **options)


def test_images_are_chosen_with_all_that_belongs_to_them():
    flags = np.array([[True], [False], [True], [True]])
    whole = made(labels=np.array([0, 2, 1, 2]), attributes=flags, attribute_names=("a",), class_names=("x", "y", "z"))
    chosen = whole.select([3, 0])
    assert len(chosen) == 2
    assert np.array_equal(chosen.batch([0, 1]), whole.batch([3, 0]))
    assert chosen.labels.tolist() == [2, 0]
    assert chosen.attributes.tolist() == [[True], [True]]
    again = chosen.select([1])
    assert np.array_equal(again.batch([0]), whole.batch([0]))
    assert again.num_classes == 3  # as many as have names, whichever are here


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "d: there are no images"),
        ({"labels": np.array([0, 1])}, "d: 2 labels for 4 images"),
        ({"labels": np.array([0, 1, 2, 0]), "class_names": ("a", "b")}, "labels go up to 2, and 2 classes have names"),
        ({"attributes": np.zeros((4, 2), bool), "attribute_names": ("a",)}, r"shape \[4, 2\], not \[4, 1\]"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(options, message):
    with pytest.raises(DataError, match=message):
        made(**options)


def test_labels_for_a_model_lie_within_its_classes():
    assert made().num_classes is None
    whole = made(labels=np.array([0, 2, 1, 2]))
    assert whole.num_classes == 3
    assert whole.labels_for(3) is whole.labels
    assert whole.labels_for(7) is whole.labels
    with pytest.raises(DataError, match=r"labels lie in 0\.\.2, the model knows 0\.\.1"):
        whole.labels_for(2)
    with pytest.raises(DataError, match=r"labels lie in -1\.\.0"):
        made(labels=np.array([0, -1, 0, 0])).labels_for(3)
    with pytest.raises(DataError, match="no class labels in it; this model is conditioned on 3 classes"):
        made().labels_for(3)


VALUES = np.arange(6, dtype=np.uint8)[:, None, None, None]


def _images(names="abcdef", bad=(), **options):
    def read(indices):
        if set(indices.tolist()) & set(bad):
            raise DataError(f"{indices} cannot be read")
        return VALUES[indices]

    return ImageSet(
        description="set", shape=(1, 1, 1), count=6, read=read, names=None if names is None else list(names), **options
    )


def _content(images):
    return images.batch(range(len(images))).ravel().tolist()


def test_images_are_called_by_their_file_or_else_by_their_number():
    assert _images(root="folder/").name(2) == "folder/c"
    assert _images().select([4, 2]).name(1) == "c"
    assert _images(names=None).name(2) == "2"
    with pytest.raises(DataError, match="3 names for 6 images"):
        _images(names="abc")


def test_images_in_memory_are_not_decoded():
    assert _images(names=None, bad=[1]).unreadable() == []
    assert [row for row, _ in _images(bad=[1, 3]).unreadable()] == [1, 3]


def test_arranged_keeps_the_order_asked_for():
    images = _images(labels=np.array([0, 0, 0, 1, 1, 1]))
    arranged = images.arranged(["f", "a"])
    assert (_content(arranged), arranged.labels.tolist(), arranged.stand_ins.tolist()) == ([5, 0], [1, 0], [])


def test_another_of_the_class_stands_in_for_a_lost_picture():
    images = _images(labels=np.array([0, 1, 0, 1, 0, 1]))
    names, labels = ["x", "a", "b", "c", "d", "y"], np.array([1, 0, 1, 0, 1, 0])
    arranged = images.arranged(names, labels)
    assert _content(arranged) == [1, 0, 1, 2, 3, 0]  # x: the next of class 1; y: from the start again
    assert (arranged.labels.tolist(), arranged.stand_ins.tolist()) == (labels.tolist(), [0, 5])
    assert (arranged.name(0), arranged.select([5, 1]).stand_ins.tolist()) == ("x", [0])
    with pytest.raises(DataError, match="x cannot be read, and no other picture of its class is left"):
        images.arranged(["x", "a"], np.array([1, 0]))
    with pytest.raises(DataError, match="no names"):
        _images(names=None).arranged(["a"])
