from __future__ import annotations

import numpy as np
import pytest

import glow_deploy
from glow_deploy.errors import DataError, UsageError


@pytest.fixture(scope="module")
def model(bundles):
    with glow_deploy.load(bundles["classes"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def test_one_class_for_all_in_every_spelling(model, images):
    wanted = model.encode(images, labels=[2, 2, 2])
    for labels in (2, np.int32(2), np.array(2), [2], (2, 2, 2), np.array([2, 2, 2], np.uint8), range(2, 3)):
        found = model.encode(images, labels=labels)
        assert found.labels.tolist() == [2, 2, 2]
        assert np.array_equal(found.z[0], wanted.z[0])
        assert model.sample(3, labels=labels).labels.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "labels", [1.5, True, "1", [0, 1.0, 2], [0, True, 1], None, np.array([0.0, 1.0, 2.0]), {}, 10**30]
)
def test_what_is_no_class_is_told(model, images, labels):
    with pytest.raises(UsageError, match="labels"):
        model.encode(images, labels=labels)
    with pytest.raises((UsageError, DataError), match=r"labels|no class"):
        model.sample(3, labels=labels)


def test_the_number_of_classes_and_their_range(model, images):
    with pytest.raises(DataError, match=r"labels must be 3 whole numbers, one a row, not int64 \[2\]"):
        model.encode(images, labels=[0, 1])
    for labels in (3, -1):
        with pytest.raises(DataError, match=f"no class {labels}"):
            model.encode(images, labels=labels)


def test_a_model_without_classes_says_which_argument_to_leave_out(bundles, images):
    with glow_deploy.load(bundles["plain"]) as model:
        for call in (
            lambda: model.encode(images, labels=1),
            lambda: model.score(images, labels=1),
            lambda: model.sample(2, labels=1),
            lambda: model.decode(model.encode(images), labels=1),
            lambda: model.interpolate(images[0], images[1], labels=1),
            lambda: model.sample(2, labels="all"),
        ):
            with pytest.raises(UsageError, match=r"^this model is not class-conditional: leave labels= out$"):
                call()
        with pytest.raises(UsageError, match='leave labels="best" out'):
            model.encode(images, labels="best")
