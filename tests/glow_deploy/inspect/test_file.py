from __future__ import annotations

import struct

import numpy as np
import pytest

from glow_deploy.errors import BundleError, DataError
from glow_deploy.inspect.file import recognise, run_inspect


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"vtrt" + bytes(40), "plan"),
        (b"ftrt" + bytes(40), "plan"),
        (struct.pack("<Q", 9) + b'{"a": 1}', "safetensors"),
        (b"\x80\x02}q\x00.", "torch"),
        (b"PK\x03\x04 cut short", "torch"),
        (b"\x08\x0a", "onnx"),
        (b"anything else", "onnx"),
    ],
)
def test_kinds_are_known_by_their_first_bytes_whatever_the_name(data, kind, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(data)
    assert recognise(path) == kind


def test_folders_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match=r"is a folder without a manifest\.json"):
        recognise(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert recognise(tmp_path) == "bundle"
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="empty is empty"):
        recognise(tmp_path / "empty")
    with pytest.raises(DataError, match="gone cannot be read: No such file"):
        recognise(tmp_path / "gone")


def test_a_graph_is_counted(tiny, tmp_path):
    path = tmp_path / "e"
    path.write_bytes(tiny.encoder().SerializeToString())
    found = run_inspect(path)
    assert (found.kind, found.facts["opset"], found.facts["ours"], found.facts["role"]) == ("onnx", 20, True, "encoder")
    # The 4x4 weight and the bias, -1/2, the constant of the density, and the three axes.
    assert found.facts["parameter_types"] == {"float": 16 + 4 + 1 + 1, "int64": 3}
    assert found.facts["parameters"] == 25
    assert found.facts["nodes"] == 6


def test_arrays_are_listed_and_never_unpickled(tmp_path):
    path = tmp_path / "data"
    with path.open("wb") as file:
        np.savez(file, images=np.zeros((2, 3, 4, 4), np.uint8))
    found = run_inspect(path)
    assert (found.kind, found.facts["content"]) == ("npz", "data set")
    assert [(row["array"], row["shape"]) for row in found.tables["arrays"]] == [("images", [2, 3, 4, 4])]


def test_what_is_nothing_is_said_to_be_nothing(tmp_path):
    (tmp_path / "text").write_text("no graph at all")
    with pytest.raises(BundleError, match="text is nothing glow-deploy knows"):
        run_inspect(tmp_path / "text")
    (tmp_path / "p").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match="is a checkpoint; read it with"):
        run_inspect(tmp_path / "p")
