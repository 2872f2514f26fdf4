import numpy as np
import pytest

from glow_deploy.data import load_images
from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes

VALUES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)


@pytest.fixture
def rows():
    datasets = pytest.importorskip("datasets")

    def build(kind):
        encoded = [png_bytes(value) for value in VALUES]
        if kind == "image":
            features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
            held = {"image": [{"bytes": item, "path": None} for item in encoded], "label": [0, 1] * 3}
            return datasets.Dataset.from_dict(held, features=features)
        if kind == "struct":
            return datasets.Dataset.from_dict({"picture": [{"bytes": item, "path": "x.png"} for item in encoded]})
        return datasets.Dataset.from_dict({"n": list(range(6)), "picture": encoded})

    return build


@pytest.mark.parametrize("kind", ["image", "struct", "bytes"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_tables_of_pictures(rows, tmp_path, kind, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        rows(kind).to_parquet(path)
    else:
        rows(kind).save_to_disk(tmp_path / "saved")
        next((tmp_path / "saved").glob("*.arrow")).rename(path)
    images = load_images(path, split="test")
    assert np.array_equal(images.batch(range(6)), VALUES)
    assert images.name(2) == f"{path}, image 2"
    assert (None if images.labels is None else images.labels.tolist()) == ([0, 1] * 3 if kind == "image" else None)


def test_damaged_tables_are_one_clear_error(rows, tmp_path):
    path = tmp_path / "a.parquet"
    rows("image").to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.parquet cannot be opened as a table") as raised:
        load_images(path, split="test")
    assert "\n" not in str(raised.value)


def test_a_table_without_pictures_names_its_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"n": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no image column among n"):
        load_images(tmp_path / "a.parquet", split="test")


def test_databases_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(DataError, match=r"an LMDB database.*into a folder, a \.zip or a Parquet file"):
        load_images(tmp_path, split="test")
