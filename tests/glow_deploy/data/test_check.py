import time

import numpy as np

from glow_deploy.data import ImageSet
from glow_deploy.data.check import PictureCheck
from glow_deploy.errors import DataError


def _images(count, *, bad=(), names=True, seconds=0.0):
    def read(indices):
        time.sleep(seconds)
        if int(indices[0]) in bad:
            raise DataError(f"{indices[0]} is damaged")
        return np.zeros((len(indices), 1, 1, 1), np.uint8)

    found = [f"{row}.png" for row in range(count)] if names else None
    return ImageSet(description="set", shape=(1, 1, 1), count=count, read=read, names=found)


def _wait(check):
    for _ in range(1000):
        if check.finished:
            return
        time.sleep(0.01)
    raise AssertionError("the check did not end")


def test_every_picture_of_all_sets_is_decoded():
    with PictureCheck([_images(5, bad=[3]), _images(4, names=False), _images(2, bad=[0])]) as check:
        _wait(check)
    assert (check.done, check.total) == (7, 7)
    assert [left.name for left in check.faults] == ["3.png", "0.png"]
    assert check.faults[0].reason == "3 is damaged"


def test_leaving_ends_it():
    with PictureCheck([_images(100_000, seconds=0.001)]) as check:
        pass
    done = check.done
    time.sleep(0.05)
    assert check.done == done < check.total
    assert not check.finished


def test_without_pictures_there_is_nothing_to_do():
    with PictureCheck([_images(4, names=False)]) as check:
        assert check.finished
