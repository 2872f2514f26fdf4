from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from pyarrow import parquet

from glow_deploy.artifact.files import sha256_file
from glow_deploy.bulk.shards import write_shard
from glow_deploy.errors import MissingDependencyError
from glow_deploy.images import read_picture

RNG = np.random.default_rng(0)
COLUMNS = {
    "names": ["a", "b-\udcff"],
    "number": np.array([5, 6]),
    "z1": RNG.normal(size=(2, 3, 4, 4)).astype(np.float32),
    "image": RNG.integers(0, 256, (2, 1, 4, 6), dtype=np.uint8),
}


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_columns_come_back_and_the_bytes_are_always_the_same(tmp_path, kind):
    first = write_shard(tmp_path / "a", COLUMNS, kind=kind)
    assert first == write_shard(tmp_path / "b", COLUMNS, kind=kind)
    assert first == ((tmp_path / "a").stat().st_size, sha256_file(tmp_path / "a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    if kind == "npz":
        with np.load(tmp_path / "a") as found:
            assert found["names"].tolist() == ["a", "b-\\udcff"]
            assert np.array_equal(found["z1"], COLUMNS["z1"])
            assert np.array_equal(found["images"], COLUMNS["image"].transpose(0, 2, 3, 1))
        return
    found = parquet.read_table(tmp_path / "a")
    assert found["names"].to_pylist() == ["a", "b-\\udcff"]
    assert json.loads(found.schema.field("z1").metadata[b"shape"]) == [3, 4, 4]
    assert np.array_equal(np.array(found["z1"].to_pylist(), np.float32).reshape(2, 3, 4, 4), COLUMNS["z1"])
    pictures = [read_picture(cell["bytes"]) for cell in found["image"].to_pylist()]
    assert np.array_equal(np.stack(pictures), COLUMNS["image"])


def test_parquet_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package pyarrow: pip install 'glow-deploy\[ray\]'"):
        write_shard(tmp_path / "a", COLUMNS, kind="parquet")
    assert list(tmp_path.iterdir()) == []
    write_shard(tmp_path / "a", COLUMNS, kind="npz")
