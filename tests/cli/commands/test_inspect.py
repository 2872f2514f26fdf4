from __future__ import annotations

import json
from pathlib import Path

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import sha256_file


def test_inspect_a_checkpoint(invoke, model):
    found = json.loads(invoke("inspect", model.checkpoint, "--json", "-").stdout)
    assert (found["kind"], found["levels"], found["image_size"]) == ("checkpoint", 2, [8, 8])
    assert found["parameters"] > 1000


def test_inspect_a_graph(invoke, model):
    found = json.loads(invoke("inspect", model.encoder, "--json", "-").stdout)
    assert (found["kind"], found["ours"], found["role"], found["precision"]) == ("onnx", True, "encoder", "fp32")
    assert found["sha256"] == sha256_file(model.encoder)
    assert {row["name"]: row["shape"] for row in found["signature"]}["z2"] == ["batch", 24, 2, 2]
    assert [row["level"] for row in found["nodes_per_level"]] == ["level1", "level2", "prior"]
    assert sum(row["nodes"] for row in found["nodes_per_level"]) == found["nodes"]


def test_inspect_a_bundle_and_see_a_changed_file(invoke, own_model):
    table = {
        row["file"]: row["state"]
        for row in json.loads(invoke("inspect", own_model.bundle, "--json", "-").stdout)["files"]
    }
    assert set(table.values()) == {"ok"}
    own_model.encoder.write_bytes(own_model.encoder.read_bytes() + b"\x00")
    (own_model.bundle / "golden.npz").unlink()
    table = {
        row["file"]: row["state"]
        for row in json.loads(invoke("inspect", own_model.bundle, "--json", "-").stdout)["files"]
    }
    assert table == {"encoder.onnx": "changed", "decoder.onnx": "ok", "golden.npz": "missing"}


FIXTURES = Path(__file__).parents[2] / "fixtures" / "other_projects"


def checkpoint(folder: str) -> tuple[Path, list[str]]:
    """A file, and the options that reading it takes."""
    told = json.loads((FIXTURES / folder / "options.json").read_text())
    file = FIXTURES / folder / told.pop("file")
    return file, [word for name, value in told.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_inspect_tells_what_a_bundle_was_made_of(invoke, place, model):
    file, options = checkpoint("rosinality_affine_lu")
    assert invoke("export", file, *options, "--out", "bundle", "--golden", "4").exit_code == 0
    result = invoke("inspect", "bundle")
    assert result.exit_code == 0, result.stderr
    assert "rosinality/glow-pytorch" in result.stdout
    assert "image_size 16x16, n_bits 8" in result.stdout
    assert "It is taken to be fed images minus 0.5" in result.stdout
    found = json.loads(invoke("inspect", "bundle", "--json", "-").stdout)
    assert (found["source"], found["source_options"]) == (
        "rosinality/glow-pytorch",
        {"image_size": [16, 16], "n_bits": 8},
    )
    assert [row["note"] for row in found["notes"]] == list(Bundle.open(place / "bundle").manifest.numerics.notes)
    # Nothing is said of a model trained here.
    found = json.loads(invoke("inspect", model.bundle, "--json", "-").stdout)
    assert "source" not in found
    assert found["notes"] == []
