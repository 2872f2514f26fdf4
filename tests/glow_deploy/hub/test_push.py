from __future__ import annotations

import hashlib
import json
import shutil
import sys

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.hub import HubSettings, push

SETTINGS = HubSettings(license="mit")


def test_one_commit_holds_the_bundle_its_card_and_samples(hub, bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    (tmp_path / "b" / "decoder.rtx.trt").write_bytes(b"a plan is executable code")
    done = push(tmp_path / "b", "me/faces", settings=SETTINGS)
    ((number, files),) = hub.repos["me/faces"]
    assert done.commit == number
    assert set(files) == {*(path.name for path in bundle.iterdir()), "README.md", "samples.png"} == set(done.files)
    for path in bundle.iterdir():
        assert files[path.name] == path.read_bytes()
    assert files["samples.png"].startswith(b"\x89PNG")
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    card = files["README.md"].decode()
    assert card.startswith('---\nlibrary_name: "glow-deploy"\n')
    assert 'license: "mit"' in card
    assert "**sound: every image comes back exactly" in card
    assert "| round trip | sound |" in card
    assert "glow-deploy hub pull me/faces bundle" in card
    for digest in Bundle.open(bundle).manifest.files.values():
        assert digest in card


@pytest.mark.slow
def test_an_unsound_model_is_not_sent(hub, bundle, tmp_path):
    import onnx

    shutil.copytree(bundle, tmp_path / "b")
    path = tmp_path / "b" / "decoder.onnx"
    graph = onnx.load(path)
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("invconv/weight"))
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[0] += 1
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(graph, path)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    manifest["files"]["decoder.onnx"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsoundModelError, match="UNSOUND"):
        push(tmp_path / "b", "me/faces", settings=SETTINGS)
    assert hub.asked == []
    push(tmp_path / "b", "me/faces", settings=HubSettings(license="mit", force=True))
    assert "**UNSOUND" in hub.repos["me/faces"][-1][1]["README.md"].decode()


def test_a_wrong_token_and_no_hub_are_one_line(hub, bundle, monkeypatch):
    monkeypatch.setattr(sys.modules[push.__module__], "_gather", lambda *_: ({"manifest.json": b"{}"}, None))
    for url, token in ((hub.url, "hf_wrong"), ("http://127.0.0.1:9", "hf_secret")):
        hub.point(url, token)
        with pytest.raises(DataError, match="pushing to me/faces") as refusal:
            push(bundle, "me/faces", settings=SETTINGS)
        assert "\n" not in str(refusal.value)
    assert hub.repos == {}


@pytest.mark.parametrize(
    "wrong",
    [{"license": ""}, {"license": "MIT or so"}, {"license": "other"}, {"license": "mit", "license_name": "x"},
     {"license": 'mit"\nx: y'}],
)  # fmt: skip
def test_licences_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError, match="license"):
        HubSettings(**wrong)


@pytest.mark.parametrize("name", ["faces", "a/b/c", "../x", "a/..", "a b/c", "https://x/y", "a/b--c"])
def test_names_that_are_none_are_refused(name, bundle):
    with pytest.raises(UsageError, match="OWNER/NAME"):
        push(bundle, name, settings=SETTINGS)
