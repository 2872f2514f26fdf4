"""Files are held to a signature at the moment they are read."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.artifact.manifest import manifest_digest
from glow_deploy.artifact.sidecar import read_sidecar
from glow_deploy.artifact.signed import SignedFiles
from glow_deploy.errors import SignatureError
from glow_deploy.export import ExportSettings, export


@pytest.fixture(scope="module")
def two(perturbed_glow, tmp_path_factory):
    """Two bundles that are in order, and what a signature of the first says."""
    folder = tmp_path_factory.mktemp("signed")
    for seed, name in enumerate(("one", "two")):
        glow = perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4), seed=seed)
        save_checkpoint(glow, folder / f"{name}.pt")
        export(folder / f"{name}.pt", out=folder / name, settings=ExportSettings(golden=3))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "one").iterdir()}
    return folder / "one", folder / "two", SignedFiles(signer="me", digests=digests)


def test_the_bundle_that_was_signed_is_read(two):
    one, _, signed = two
    bundle = Bundle.open(one, signed=signed)
    assert len(bundle.golden()) == 3
    assert bundle.graph("encoder.onnx").graph.node
    assert bundle.read("decoder.onnx") == (one / "decoder.onnx").read_bytes()
    assert engine_model_id(one / "encoder.onnx", signed=signed) == bundle.manifest.model_id
    assert manifest_digest(one / "encoder.onnx", signed=signed) == bundle.manifest.files["encoder.onnx"]


def test_another_sound_bundle_in_its_place_is_not(two):
    _, other, signed = two
    Bundle.open(other).read("encoder.onnx")  # in order by its own digests
    for look in (
        lambda: Bundle.open(other, signed=signed),
        lambda: engine_model_id(other / "encoder.onnx", signed=signed),
        lambda: manifest_digest(other / "encoder.onnx", signed=signed),
    ):
        with pytest.raises(SignatureError, match="not the file that was signed"):
            look()


@pytest.mark.parametrize("name", ["encoder.onnx", "golden.npz"])
def test_files_exchanged_after_the_manifest_was_read_are_not(two, tmp_path, name):
    one, other, signed = two
    shutil.copytree(one, tmp_path / "b")
    bundle = Bundle.open(tmp_path / "b", signed=signed)
    opened = Bundle(path=bundle.path, manifest=Bundle.open(other).manifest, signed=signed)
    shutil.copy(other / name, tmp_path / "b" / name)
    with pytest.raises(SignatureError, match="not the file that was signed"):
        opened.golden() if name == "golden.npz" else opened.graph(name)


def test_a_sidecar_that_no_signature_covers_is_not_read(two, tmp_path):
    _, _, signed = two
    (tmp_path / "encoder.trt.json").write_text("{}")
    with pytest.raises(SignatureError, match="not covered"):
        read_sidecar(tmp_path / "encoder.trt", signed=signed)
    assert read_sidecar(tmp_path / "decoder.trt", signed=signed) is None
