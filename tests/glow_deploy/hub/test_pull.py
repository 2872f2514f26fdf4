from __future__ import annotations

import json

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import BundleError, DataError, UsageError
from glow_deploy.hub import pull


@pytest.fixture
def there(hub, bundle):
    """The bundle's files on the Hub, with more that is never fetched."""
    files = {path.name: path.read_bytes() for path in bundle.iterdir()}
    hub.commit("me/faces", {**files, "README.md": b"# x", "decoder.trt": b"ftrt", "../evil": b"x"})
    return hub


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_comes_is_the_bundle_and_nothing_else(there, bundle, tmp_path):
    found = pull("me/faces", tmp_path / "b")
    assert everything(tmp_path / "b") == everything(bundle)
    assert found.commit == there.repos["me/faces"][-1][0]
    assert found.signed is False
    assert not any("decoder.trt" in path or "evil" in path for _, path in there.asked)
    resolved = [path for _, path in there.asked if "/resolve/" in path]
    assert all(found.commit in path for path in resolved)  # one commit, whatever is pushed meanwhile
    with pytest.raises(UsageError, match="force=True"):
        pull("me/faces", tmp_path / "b")
    pull("me/faces", tmp_path / "b", force=True)
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        pull("me/faces", tmp_path / "b", force=True)


def test_a_commit_that_is_named_is_taken(there, bundle, tmp_path):
    first = there.repos["me/faces"][-1][0]
    manifest = json.loads((bundle / "manifest.json").read_text())
    there.commit("me/faces", {"manifest.json": json.dumps({**manifest, "precision": "other"}).encode()})
    pull("me/faces", tmp_path / "old", revision=first)
    assert Bundle.open(tmp_path / "old").manifest.precision == "fp32"
    with pytest.raises(DataError, match="no such revision"):
        pull("me/faces", tmp_path / "x", revision="0" * 40)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "golden.npz", "manifest.json"])
def test_a_file_that_is_not_what_the_manifest_says_is_refused(there, bundle, tmp_path, name):
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    there.spoil[name] = bytes(data[:-100] if name == "manifest.json" else data)  # it vouches for the others alone
    with pytest.raises(BundleError, match=f"pulling me/faces: {name}"):
        pull("me/faces", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_graph_that_would_read_other_files_is_refused(there, bundle, tmp_path):
    """Its digest fits, for whoever made the bundle made the manifest too."""
    import hashlib

    import onnx

    graph = onnx.load(bundle / "encoder.onnx")
    weight = graph.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    data = graph.SerializeToString()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["encoder.onnx"] = hashlib.sha256(data).hexdigest()
    there.commit("me/faces", {"encoder.onnx": data, "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(BundleError, match="another file"):
        pull("me/faces", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_is_too_large_is_not_fetched(there, tmp_path):
    there.commit("me/faces", {"manifest.json": b" " * (5 << 20)})
    with pytest.raises(BundleError, match="are accepted"):
        pull("me/faces", tmp_path / "b")
    assert not any("/resolve/" in path for _, path in there.asked)


def test_repositories_that_are_none_are_one_line(there, tmp_path):
    there.commit("me/empty", {"README.md": b"x"})
    for name, said in (("me/nothing", "no such repository"), ("me/empty", "no bundle"), ("nothing", "OWNER/NAME")):
        with pytest.raises((DataError, UsageError), match=said) as refusal:
            pull(name, tmp_path / "b")
        assert "\n" not in str(refusal.value)
    there.point("http://127.0.0.1:9")
    with pytest.raises(DataError, match="pulling me/faces"):
        pull("me/faces", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_offline_the_cache_serves(there, bundle, tmp_path, monkeypatch):
    from huggingface_hub import constants

    pull("me/faces", tmp_path / "a")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(there.asked)
    pull("me/faces", tmp_path / "b", revision=there.repos["me/faces"][-1][0])
    assert everything(tmp_path / "b") == everything(bundle)
    assert len(there.asked) == before
    with pytest.raises(DataError, match="pulling me/other"):
        pull("me/other", tmp_path / "c")
