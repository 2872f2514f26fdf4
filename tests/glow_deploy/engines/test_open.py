from __future__ import annotations

import hashlib
import json
import zipfile

import pytest

from glow_deploy.engines import open_engine
from glow_deploy.errors import BundleError, EngineError, GlowDeployError


def _write_manifest(folder, **changes):
    names = ("encoder.onnx", "decoder.onnx")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "manifest.json").write_text(json.dumps({"files": files | changes}))


def test_a_lone_graph_needs_no_manifest_and_no_particular_name(bundle):
    other = bundle / "something.bin"
    (bundle / "decoder.onnx").rename(other)
    with open_engine(str(other), device="cpu") as engine:
        assert engine.role == "decoder"


def test_the_manifest_must_agree(bundle):
    _write_manifest(bundle)
    open_engine(bundle / "encoder.onnx", device="cpu").close()
    _write_manifest(bundle, **{"encoder.onnx": "0" * 64})
    with pytest.raises(BundleError, match="sha256 differs"):
        open_engine(bundle / "encoder.onnx", device="cpu")
    open_engine(bundle / "decoder.onnx", device="cpu").close()


def test_one_changed_bit_is_noticed(bundle):
    _write_manifest(bundle)
    path = bundle / "encoder.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError):
        open_engine(path, device="cpu")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": 3}', '{"files": {"encoder.onnx": 5}}', "\x00", "[" * 100_000]
)
def test_a_damaged_manifest_is_an_error_not_ignored(bundle, text):
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_engine(bundle / "encoder.onnx", device="cpu")


def test_what_is_no_engine_is_told_apart(bundle):
    with pytest.raises(EngineError, match="does not exist"):
        open_engine(bundle / "missing.onnx")
    with pytest.raises(EngineError, match="is a folder"):
        open_engine(bundle)
    (bundle / "empty.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="empty"):
        open_engine(bundle / "empty.onnx")
    with zipfile.ZipFile(bundle / "ckpt.pt", "w") as archive:
        archive.writestr("data.pkl", "x")
    with pytest.raises(EngineError, match="glow-deploy export"):
        open_engine(bundle / "ckpt.pt")


def test_a_pickle_is_never_loaded(bundle, tmp_path):
    marker = tmp_path / "ran"
    code = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    (bundle / "model.onnx").write_bytes(code)
    with pytest.raises(GlowDeployError):
        open_engine(bundle / "model.onnx")
    assert not marker.exists()
