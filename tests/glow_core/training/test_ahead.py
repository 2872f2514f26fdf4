from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from training_toys import toy_config, toy_images

from glow_core.errors import TrainingError
from glow_core.training.ahead import ReadAhead
from glow_core.training.data import read_batch
from glow_core.training.sampler import ShuffledSampler


class Watched:
    """Images that remember who read them, and fail where they are told to."""

    def __init__(self, images, *, bad=None):
        self.images, self.bad = images, bad
        self.labels = images.labels
        self.read: list[tuple[np.ndarray, str]] = []

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        self.read.append((indices, threading.current_thread().name))
        if self.bad is not None and self.bad in indices:
            raise ValueError("damaged")
        return self.images.batch(indices)


def test_every_step_sees_what_the_sampler_says() -> None:
    images, config = toy_images(30), toy_config()
    ahead = ReadAhead(images, ShuffledSampler(30, batch_size=8, seed=3), config)
    sampler = ShuffledSampler(30, batch_size=8, seed=3)
    for step in range(5, 40):
        indices, pixels = ahead.batch(step)
        np.testing.assert_array_equal(indices, sampler.batch(step))
        np.testing.assert_array_equal(pixels, read_batch(images, indices, config))
    ahead.close()


def test_the_next_steps_are_read_meanwhile() -> None:
    watched = Watched(toy_images(30))
    ahead = ReadAhead(watched, ShuffledSampler(30, batch_size=8, seed=3), toy_config())
    ahead.batch(1)
    for _ in range(200):
        if len(watched.read) == 3:
            break
        time.sleep(0.01)
    assert len(watched.read) == 3
    assert all(name.startswith("read ahead") for _, name in watched.read)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read ahead")]


def test_a_fault_is_met_at_the_step_that_needs_the_image() -> None:
    sampler = ShuffledSampler(30, batch_size=8, seed=3)
    bad = int(sampler.batch(3)[2])
    assert all(bad not in sampler.batch(step) for step in (1, 2))
    ahead = ReadAhead(Watched(toy_images(30), bad=bad), ShuffledSampler(30, batch_size=8, seed=3), toy_config())
    ahead.batch(1)
    ahead.batch(2)
    with pytest.raises(ValueError, match="damaged"):
        ahead.batch(3)
    ahead.close()


def test_images_of_another_size_are_refused() -> None:
    ahead = ReadAhead(toy_images(30), ShuffledSampler(30, batch_size=8, seed=3), toy_config(image_size=(64, 64)))
    with pytest.raises(TrainingError, match="resize or convert"):
        ahead.batch(1)
    ahead.close()
