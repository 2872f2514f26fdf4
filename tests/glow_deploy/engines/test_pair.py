from __future__ import annotations

import shutil

import pytest

from glow_deploy.engines.pair import open_pair, pair_files
from glow_deploy.errors import BundleError, EngineError, UsageError


def test_two_files_of_one_model(bundle):
    with open_pair(encoder=bundle / "encoder.onnx", decoder=bundle / "decoder.onnx", device="cpu") as (
        encoder,
        decoder,
    ):
        assert (encoder.role, decoder.role) == ("encoder", "decoder")
    with pytest.raises(EngineError, match="closed"):
        encoder.run({})


def test_engines_of_different_models_are_refused(bundle, tiny, tmp_path):
    import onnx

    other = onnx.load(bundle / "decoder.onnx")
    entry = next(prop for prop in other.metadata_props if prop.key == "glow_deploy.model_id")
    assert entry.value != "f" * 64
    entry.value = "f" * 64
    onnx.save(other, bundle / "other.onnx")
    with (
        pytest.raises(BundleError, match="belong to different models"),
        open_pair(encoder=bundle / "encoder.onnx", decoder=bundle / "other.onnx", device="cpu"),
    ):
        pass


def test_swapped_engines_are_named(bundle):
    with (
        pytest.raises(UsageError, match=r"decoder\.onnx is the decoder, the encoder is needed"),
        open_pair(encoder=bundle / "decoder.onnx", decoder=bundle / "encoder.onnx", device="cpu"),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"encoder\.onnx is the encoder, the decoder is needed"),
        open_pair(encoder=bundle / "encoder.onnx", decoder=bundle / "encoder.onnx", device="cpu"),
    ):
        pass


def test_neither_or_both_ways(tmp_path):
    for arguments in ({}, {"encoder": tmp_path / "encoder.onnx"}, {"decoder": tmp_path / "decoder.onnx"}):
        with pytest.raises(UsageError, match="name a bundle folder, or both"):
            pair_files(None, **arguments)
    with pytest.raises(UsageError, match="brings its own engines"):
        pair_files(tmp_path, encoder=tmp_path / "encoder.onnx")
    with pytest.raises(UsageError, match="flavor="):
        pair_files(None, encoder=tmp_path / "a", decoder=tmp_path / "b", flavor="rtx")


def test_a_folder_without_a_manifest_is_no_bundle(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        pair_files(bundle)
    with pytest.raises(BundleError, match="no such bundle folder"):
        pair_files(tmp_path / "nowhere")


def test_files_of_a_bundle(bundle, monkeypatch):
    from glow_deploy.artifact.bundle import Bundle

    monkeypatch.setattr(Bundle, "open", classmethod(lambda cls, path: cls(path=path, manifest=None)))
    assert [path.name for path in pair_files(bundle)] == ["encoder.onnx", "decoder.onnx"]
    with pytest.raises(EngineError, match=r"compile .* --flavor rtx` makes it"):
        pair_files(bundle, flavor="rtx")
    for name in ("encoder.trt", "decoder.trt"):
        shutil.copy(bundle / "encoder.onnx", bundle / name)
    assert [path.name for path in pair_files(bundle, flavor="tensorrt")] == ["encoder.trt", "decoder.trt"]
