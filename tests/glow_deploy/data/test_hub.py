"""The hub's code path on a data set laid out on disk; the hub itself is not asked."""

import numpy as np
import pytest
from PIL import Image

from glow_deploy.data import load_images
from glow_deploy.errors import DataError

VALUES = np.random.default_rng(1).integers(0, 256, (10, 4, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("hub")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.fromarray(value) for value in VALUES], "label": [i % 2 for i in range(10)]}
    (folder / "data").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


def test_images_and_labels_come_through(laid_out):
    train = load_images(f"hf:{laid_out}", split="train")
    validation = load_images(f"hf:{laid_out}", split="validation")
    assert (len(train), len(validation)) == (9, 1)
    assert train.shape == (3, 4, 6)
    found = {train.batch([i]).tobytes() for i in range(9)} | {validation.batch([0]).tobytes()}
    assert found == {np.ascontiguousarray(value.transpose(2, 0, 1)).tobytes() for value in VALUES}
    assert set(train.labels.tolist()) == {0, 1}
    assert (train.num_classes, train.class_names, validation.class_names) == (2, ("a", "b"), ("a", "b"))


def test_a_name_that_cannot_be_opened_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="hf:") as raised:
        load_images(f"hf:{tmp_path}/nothing-here", split="train")
    assert "\n" not in str(raised.value)


def test_rows_without_a_label_or_a_picture(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    pictures = [Image.fromarray(VALUES[0]), None, Image.fromarray(VALUES[2])]
    rows = datasets.Dataset.from_dict({"image": pictures, "label": [0, -1, 1]}, features=features)
    rows.to_parquet(tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match="image 1 is missing"):
        load_images(f"hf:{tmp_path}", split="test")
    images = load_images(f"hf:{tmp_path}", split="test", skip_unreadable=True)
    assert images.labels is None
    assert images.batch([0, 1]).shape == (2, 3, 4, 6)
    assert [left.name for left in images.left_out] == [f"hf:{tmp_path}, test, image 1"]


def test_the_client_is_quiet_only_while_it_is_asked(tmp_path, capfd):
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    with pytest.raises(DataError):
        load_images(f"hf:{tmp_path}/nothing-here", split="train")
    assert logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
