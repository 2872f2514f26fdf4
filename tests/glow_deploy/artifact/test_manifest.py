from __future__ import annotations

import json

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import BundleError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format_version=2), "format 2"),
        (lambda m: m.pop("format_version"), "not a manifest"),
        (lambda m: m.pop("precision"), "precision"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.update(model={}), "missing or malformed"),
        (lambda m: m["model"].update(levels=3), "missing or malformed"),
        (lambda m: m["model"].update(n_bits="many"), "missing or malformed"),
        (lambda m: m.update(files={}), "encoder.onnx"),
        (lambda m: m["files"].update({"encoder.onnx": "abc"}), "files.encoder.onnx"),
        (lambda m: m["files"].update({"../../etc/passwd": "0" * 64}), "files"),
        (lambda m: m.update(golden_source=None), "golden_source"),
        (lambda m: m.update(numerics=3), "numerics"),
        (lambda m: m.update(tensors=[]), "missing or malformed"),
        (lambda m: m.update(format_version=True), "format"),
        (lambda m: m.update(format_version=1.0), "format"),
        *(
            (lambda m, name=name, value=value: m["model"].update({name: value}), f"model.{name}")
            for name in ("n_bits", "levels", "num_classes", "channels", "steps", "width")
            for value in (float("inf"), -1, 0, 5.7, True, "3", 10**30)
        ),
        (lambda m: m["model"].update(image_size=[-6, 4]), "model.image_size"),
        (lambda m: m["model"].update(image_size=[4, 4.0]), "model.image_size"),
        (lambda m: m["model"].update(image_size=[4, 6], levels=2), "model.levels"),
        (lambda m: m["model"].update(num_classes=4), "tensors.encoder.inputs"),
        (lambda m: m["model"].update(image_size=[8, 4]), "tensors.encoder.inputs"),
        (lambda m: m["tensors"]["decoder"].update(outputs={}), "tensors.decoder.outputs"),
        (lambda m: m["tensors"]["encoder"]["outputs"]["z1"].update(shape=[-12, 2, 2]), "tensors.encoder.outputs"),
        (lambda m: m["tensors"]["decoder"]["inputs"]["z1"].update(dtype="float64"), "tensors.decoder.inputs"),
        (lambda m: m["tensors"]["encoder"]["outputs"].update(z2={"dtype": "float32", "shape": []}), "encoder.outputs"),
        (lambda m: m.update(precision=7), "precision"),
        (lambda m: m.update(weights=None), "weights"),
        (lambda m: m.update(model_id="x"), "model_id"),
        (lambda m: m.update(golden_source="elsewhere"), "golden_source"),
        (lambda m: m["model"].update(channels=2), "model.channels"),
        (lambda m: m["model"].update(bounded_scale=1), "model.bounded_scale"),
        (lambda m: m["model"].update(coupling=None), "model.coupling"),
        (lambda m: m["model"].update(edge_bias=1), "model.edge_bias"),
        (lambda m: m["model"].update(prior="none"), "model.prior"),
        (lambda m: m["model"].update(prior=[]), "model.prior"),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(bundle, change, words):
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    # Python writes infinity as a word that is no JSON; other writers as a number beyond float64.
    (bundle / "manifest.json").write_text(json.dumps(manifest).replace("Infinity", "1e999"))
    with pytest.raises(BundleError, match=words) as raised:
        Bundle.open(bundle)
    assert "manifest.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1}'])
def test_other_bytes_are_no_manifest(bundle, data):
    (bundle / "manifest.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(bundle)
