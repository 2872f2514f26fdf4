"""Every JSON document is what docs/schemas says it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import pytest
from glow_cli.catalogue import COMMANDS
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "other_projects"
OTHERS = FIXTURES / "rosinality_affine_lu" / "model_000001.pt"

# Names stand for the files of the small model: B its bundle, C its checkpoint, E and D its engines, P and Q pictures.
RUNS = [
    ["export", "C", "--out", "made", "--golden", "4"],
    ["export", "C", "--out", "made", "--golden", "4", "--precision", "mixed", "--force"],
    ["convert", str(OTHERS), "--image-size", "16", "--n-bits", "8", "--out", "native.pt"],
    ["verify", "B", "--random-draws", "2", "--steps"],
    ["verify", "B", "--random-draws", "2", "--stress", "--backend", "onnxruntime-cpu"],
    ["verify", "B", "--random-draws", "2", "--ckpt", "C"],
    ["golden", "B", "--inputs", "in"],
    ["bench", "B", "--iterations", "3", "--warmup-ms", "0", "--batch", "1"],
    ["sample", "B", "-n", "2"],
    ["sample", "B", "--sweep", "0.5,1", "-n", "2"],
    ["encode", "B", "P", "Q"],
    ["encode", "B", "P", "--draws", "0"],
    ["score", "B", "P", "Q", "--draws", "1"],
    ["bulk", "sample", "B", "-n", "2", "--format", "npz", "-o", "shards"],
    ["interpolate", "B", "P", "Q", "--steps", "3"],
    ["inpaint", "C", "P", "--box", "2,2,4,4", "--steps", "3"],
    ["project", "C", "P", "--steps", "3", "--bundle", "B"],
    ["inspect", "B"],
    ["inspect", "E"],
    ["inspect", "C"],
    ["inspect", "GOLDEN"],
    ["inspect", str(OTHERS)],
    ["doctor"],
    ["triton", "B", "--out", "repository"],
    ["train", "--data", "faces", "--out", "run", "--levels", "1", "--steps", "1", "--width", "4", "--max-steps", "2"],
]


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check(name, text):
    document = json.loads(text)
    assert list(document)[:2] == ["schema", "schema_version"]
    validator(name).validate(document)
    return document


@pytest.mark.parametrize("words", RUNS, ids=lambda words: " ".join(Path(word).name for word in words)[:60])
def test_documents_fit_their_schemas(words, model, pictures, invoke, place):
    names = {
        "B": model.bundle, "C": model.checkpoint, "E": model.encoder, "D": model.decoder,
        "P": pictures[0], "Q": pictures[1], "GOLDEN": model.bundle / "golden.npz",
    }  # fmt: skip
    result = invoke(*(names.get(word, word) for word in words), "--json", "-")
    assert result.exit_code == 0, result.output
    check(words[0], result.stdout)


def test_latents_and_plans_fit_their_schemas(own_model, pictures, invoke, place):
    assert invoke("encode", own_model.bundle, *pictures, "-o", "z.npz").exit_code == 0
    check("decode", invoke("decode", own_model.bundle, "z.npz", "--json", "-").stdout)
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    check("compile", invoke("compile", own_model.bundle, "--json", "-").stdout)
    check("inspect", invoke("inspect", own_model.bundle / "decoder.rtx.trt", "--json", "-").stdout)


def test_signatures_fit_their_schemas(own_model, signing_keys, invoke):
    check("sign", invoke("sign", own_model.bundle, "--key", signing_keys / "private.pem", "--json", "-").stdout)
    for words in ([], ["--public-key", signing_keys / "public.pem"]):
        found = check("inspect", invoke("inspect", own_model.bundle, *words, "--json", "-").stdout)
        assert found["signature_state"] == ("valid" if words else "not checked")


@pytest.mark.slow
def test_the_demo_and_what_works_on_it_fit_their_schemas(invoke, place):
    check("demo", invoke("demo", "--quick", "--out", "demo", "--json", "-").stdout)
    bundle = place / "demo" / "bundle"
    found = invoke("directions", bundle, "--data", "faces", "--limit", 60, "--range-images", 4, "--json", "-")
    check("directions", found.stdout)
    from glow_deploy.data import load_images
    from glow_deploy.images import write_png

    write_png(place / "face.png", load_images("faces", split="test").batch([0])[0])
    words = ("edit", bundle, "face.png", "--directions", "directions.npz", "--attribute", "smiling=0.5")
    check("edit", invoke(*words, "--json", "-").stdout)


def test_every_command_has_a_schema_and_a_line_in_the_docs():
    names = {path.name.removesuffix(".schema.json") for path in SCHEMAS.iterdir()}
    assert names == {*COMMANDS, "error"}
    page = (SCHEMAS.parent / "json.md").read_text()
    assert all(f"(schemas/{name}.schema.json)" in page for name in names)
    for name in names:
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
        assert schema["properties"]["schema"] == {"const": f"glow_deploy.{name}"}


def test_a_wrong_document_would_be_noticed():
    good = {"schema": "glow_deploy.error", "schema_version": 1, "error": {"kind": "K", "message": "m", "exit_code": 2}}
    assert validator("error").is_valid(good)
    for wrong in ({**good, "schema": "x"}, {**good, "error": {"kind": "K", "message": "m", "exit_code": "2"}}, {}):
        assert not validator("error").is_valid(wrong)


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["sample", "nowhere"], "EngineError", "nowhere does not exist"),
        (["sample", "B", "--no-such-option"], "UsageError", "there is no option --no-such-option"),
        (["sample"], "UsageError", "name a BUNDLE folder"),
        (["sample", "B", "-n", "many"], "UsageError", "must be a whole number"),
        (["export", "C", "--out", "B"], "UsageError", "give --force to replace it"),
    ],
)
def test_a_failure_is_an_object_on_stdout_and_a_line_on_stderr(words, kind, said, model, invoke, place):
    names = {"B": model.bundle, "C": model.checkpoint}
    result = invoke(*(names.get(word, word) for word in words), "--json", "-")
    assert result.exit_code == 2
    error = check("error", result.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, 2)
    assert said in error["message"]
    assert result.stderr.strip()


def test_a_file_keeps_what_it_held_when_a_command_fails(model, invoke, place):
    (place / "old.json").write_text("{}")
    assert invoke("sample", "nowhere", "--json", "old.json").exit_code == 2
    assert (place / "old.json").read_text() == "{}"


def test_an_unsound_model_is_told_in_the_report_alone(own_model, invoke):
    """One document on stdout: the report."""
    graph = onnx.load(own_model.decoder)
    weight = next(tensor for tensor in graph.graph.initializer if tensor.name == "level1/step01/invconv/weight")
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[0] += 1.0
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(graph, own_model.decoder)
    manifest = json.loads((own_model.bundle / "manifest.json").read_text())
    manifest["files"]["decoder.onnx"] = hashlib.sha256(own_model.decoder.read_bytes()).hexdigest()
    (own_model.bundle / "manifest.json").write_text(json.dumps(manifest))
    result = invoke("verify", own_model.bundle, "--random-draws", 2, "--json", "-")
    assert result.exit_code == 1
    assert check("verify", result.stdout)["sound"] is False


@pytest.mark.parametrize(
    ("config", "options", "strength"),
    [
        ({"levels": 1, "num_classes": 3}, ["--golden", "4"], 0.05),
        ({"levels": 3, "channels": 1, "coupling": "additive"}, ["--golden", "3"], 0.05),
        ({"levels": 2, "n_bits": 8}, ["--precision", "auto"], 0.05),
        pytest.param({"levels": 2, "bounded_scale": False}, ["--force"], 1.5, marks=pytest.mark.slow),
    ],
    ids=["one-level", "three-levels", "auto", "unsound"],
)
def test_documents_of_other_models_fit_too(config, options, strength, perturbed_glow, invoke, place):
    from glow_core import GlowConfig, save_checkpoint

    base = {"image_size": (8, 8), "channels": 3, "steps": 2, "width": 8, "n_bits": 5}
    save_checkpoint(perturbed_glow(GlowConfig(**{**base, **config}), strength=strength), place / "other.pt")
    result = invoke("export", "other.pt", "--out", "other", *options, "--json", "-")
    assert result.exit_code == 0, result.output
    found = check("export", result.stdout)["numerics"]
    assert bool(found["problems"]) == (strength > 1)
    more = ["--backend", "simulated"] if "auto" in options else []
    if strength > 1:  # it has no golden images
        more += ["--data", "faces", "--resize", "--limit", "8", "--ckpt", "other.pt", "--steps", "--stress"]
        more += ["--backend", "onnxruntime-cpu", "--backend", "pytorch-fp32"]
    result = invoke("verify", "other", *more, "--random-draws", "2", "--json", "-")
    assert result.exit_code == (1 if strength > 1 else 0), result.output
    check("verify", result.stdout)
