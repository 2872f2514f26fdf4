"""Tensors left in their file: no byte is read past a record that is shorter than the pickle says."""

from __future__ import annotations

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
