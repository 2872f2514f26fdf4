from __future__ import annotations

import json
import tracemalloc
import zipfile

import pytest

from glow_deploy.engines import open as open_module
from glow_deploy.engines import open_engine
from glow_deploy.errors import BundleError, EngineError, GlowDeployError


def _write_manifest(tiny, folder, **digests):
    """The manifest of both graphs, with other digests if given."""
    files = {name: (folder / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx")}
    manifest = tiny.manifest(files)
    manifest["files"] |= digests
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def test_a_lone_graph_needs_no_manifest_and_no_particular_name(bundle):
    other = bundle / "something.bin"
    (bundle / "decoder.onnx").rename(other)
    with open_engine(str(other), device="cpu") as engine:
        assert engine.role == "decoder"


def test_the_manifest_must_agree(bundle, tiny):
    _write_manifest(tiny, bundle)
    open_engine(bundle / "encoder.onnx", device="cpu").close()
    _write_manifest(tiny, bundle, **{"encoder.onnx": "0" * 64})
    with pytest.raises(BundleError, match="sha256 differs"):
        open_engine(bundle / "encoder.onnx", device="cpu")
    open_engine(bundle / "decoder.onnx", device="cpu").close()


def test_one_changed_bit_is_noticed(bundle, tiny):
    _write_manifest(tiny, bundle)
    path = bundle / "encoder.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError):
        open_engine(path, device="cpu")


@pytest.mark.parametrize("text", ["", "{", '{"format_version": 1, "files": 3}', "\x00", "[" * 100_000])
def test_a_damaged_manifest_is_an_error_not_ignored(bundle, text):
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_engine(bundle / "encoder.onnx", device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=99), "format 99"),
        (lambda m: m["files"].pop("encoder.onnx"), "encoder.onnx"),
        (lambda m: m["files"].update({"encoder.onnx": 5}), "malformed"),
        (lambda m: m["model"].update(n_bits=9), "n_bits"),
    ],
)
def test_a_manifest_that_no_bundle_has_is_refused(bundle, tiny, change, message):
    manifest = _write_manifest(tiny, bundle)
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        open_engine(bundle / "encoder.onnx", device="cpu")


@pytest.mark.parametrize("text", ["[]", "{}", '{"name": "my web page", "icons": []}', '{"files": {"index.html": "x"}}'])
def test_the_manifest_of_another_tool_is_no_concern_of_ours(bundle, text):
    (bundle / "manifest.json").write_text(text)
    open_engine(bundle / "encoder.onnx", device="cpu").close()


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


def test_a_file_is_held_in_memory_once(bundle):
    """Two pieces that are joined would take its room twice."""
    path = bundle / "large.onnx"
    path.write_bytes(bytes(32 << 20))
    tracemalloc.start()
    try:
        data = open_module._read(path)
        assert len(data) == 32 << 20
        assert tracemalloc.get_traced_memory()[1] < 34 << 20
    finally:
        tracemalloc.stop()
