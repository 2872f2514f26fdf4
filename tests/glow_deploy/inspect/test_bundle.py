from __future__ import annotations

import json

import pytest

from glow_deploy.errors import BundleError
from glow_deploy.inspect.bundle import inspect_bundle


@pytest.fixture
def bundle(tmp_path, tiny):
    """A bundle of the two graphs that are written by hand."""
    files = {f"{role}.onnx": getattr(tiny, role)().SerializeToString() for role in ("encoder", "decoder")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "manifest.json").write_text(json.dumps(tiny.manifest(files)))
    return tmp_path


def states(bundle):
    return {row["file"]: row["state"] for row in inspect_bundle(bundle).tables["files"]}


def test_what_the_manifest_says_is_told(bundle):
    found = inspect_bundle(bundle)
    assert (found.kind, found.path) == ("bundle", str(bundle))
    assert (found.facts["precision"], found.facts["weights"], found.facts["golden_vectors"]) == ("fp32", "raw", None)
    assert found.facts["model"]["image_size"] == [4, 4]
    assert "source" not in found.facts
    assert found.tables["notes"] == []


def test_changed_and_missing_files_are_facts(bundle):
    assert states(bundle) == {"encoder.onnx": "ok", "decoder.onnx": "ok"}
    (bundle / "encoder.onnx").write_bytes((bundle / "encoder.onnx").read_bytes() + b"x")
    (bundle / "decoder.onnx").unlink()
    assert states(bundle) == {"encoder.onnx": "changed", "decoder.onnx": "missing"}


def test_every_plan_beside_the_manifest_is_listed(bundle):
    for name in ("a.trt", "b.trt"):
        (bundle / name).write_bytes(b"plan")
    (bundle / "b.trt.json").write_text("{")
    found = states(bundle)
    assert found["a.trt"] == "no sidecar"
    assert found["b.trt"].startswith("sidecar damaged: ")


def test_a_damaged_manifest_is_an_error(bundle):
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        inspect_bundle(bundle)
