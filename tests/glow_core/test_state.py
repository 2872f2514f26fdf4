"""Tensors left in their file: no byte is read past a record that is shorter than the pickle says."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile

import pytest
import torch

from glow_core.errors import CheckpointError
from glow_core.state import load_pt


def _shorten(path, target, name):
    """Write the archive again with half of one record missing."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, data[: len(data) // 2] if info.filename.endswith(name) else data)


@pytest.fixture
def path(tmp_path):
    content = {"a": torch.arange(16.0), "b": {"c": torch.ones(4, 4), "empty": torch.zeros(0)}, "n": 3}
    content["view"] = content["a"][4:]
    torch.save(content, tmp_path / "good.pt")
    return tmp_path / "good.pt"


def test_sound_files_stay_where_they_are(path, monkeypatch):
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(k["mmap"]) or load(*a, **k))
    content = load_pt(path, mmap=True)
    assert loads == [True]
    assert torch.equal(content["view"], torch.arange(4.0, 16.0))


@pytest.mark.parametrize("name", ["data/0", "data/1"])
@pytest.mark.parametrize("mmap", [True, False])
def test_short_records_are_refused(path, tmp_path, name, mmap):
    _shorten(path, tmp_path / "short.pt", name)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_pt(tmp_path / "short.pt", mmap=mmap)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("module", [b"builtins", b"__builtin__"])
def test_a_pickle_cannot_ask_for_memory(tmp_path, old, module):
    asks = b"\x80\x02c" + module + b"\nbytearray\nJ\x00\x00\x00\x40\x85R."  # 1 GiB
    path = tmp_path / "bomb.pt"
    if old:
        magic, version = 0x1950A86A20F9469CFC6C, 1001
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (magic, version, {})) + asks + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (("data.pkl", asks), ("version", "3\n"), ("byteorder", "little")):
                archive.writestr(f"archive/{name}", data)
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        load_pt(path, mmap=False)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()
