from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.data import ImageSet
from glow_deploy.data.splits import SPLITS, held_out, named_split, take_split


def made(count, name="d"):
    values = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return ImageSet(description=name, shape=(1, 1, 1), count=count, read=lambda rows: values[rows])


def numbers(images):
    return images.batch(range(len(images))).ravel().tolist()


@pytest.mark.parametrize(("count", "apart"), [(0, 0), (1, 0), (2, 1), (19, 1), (20, 2), (200, 20)])
def test_a_tenth_is_held_out_at_least_one_of_two_the_same_every_time(count, apart):
    found = held_out(count)
    assert len(found) == len(set(found.tolist())) == apart
    assert np.array_equal(found, np.sort(found))
    assert np.array_equal(found, held_out(count))
    assert all(0 <= number < count for number in found)


def test_training_and_validation_are_the_whole_between_them_and_test_is_everything():
    whole = made(50)
    train, validation, test = (take_split(whole, split) for split in SPLITS)
    assert sorted(numbers(train) + numbers(validation)) == numbers(test) == list(range(50))
    assert (train.undivided, validation.undivided, test.undivided) == (False, False, True)
    assert numbers(take_split(made(1), "train")) == numbers(take_split(made(1), "validation")) == [0]


@pytest.mark.parametrize(
    ("there", "split", "expected"),
    [
        (("train", "validation", "test"), "validation", ("validation", 20)),
        (("train", "validation"), "test", ("validation", 20)),
        (("train",), "train", ("train", 18)),
        (("train",), "validation", ("train", 2)),
        (("train",), "test", ("train", 2)),
        (("train", "test"), "validation", ("train", 2)),
        (("validation",), "train", None),
        (("test",), "validation", None),
        ((), "test", None),
    ],
)
def test_what_stands_for_a_split_that_is_not_there(there, split, expected):
    found = named_split(split, {name: lambda name=name: made(20, name) for name in there})
    assert (None if found is None else (found.description, len(found))) == expected


def test_only_the_split_that_is_needed_is_opened():
    def refuse():
        raise AssertionError("opened")

    assert named_split("test", {"train": refuse, "validation": refuse, "test": lambda: made(3)}) is not None
