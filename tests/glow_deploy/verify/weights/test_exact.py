from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.verify.steps.weights import read_weights
from glow_deploy.verify.weights.check import check_weights
from glow_deploy.verify.weights.exact import false_facts

KEY = "glow_deploy.exact."


@pytest.fixture(scope="module")
def exact(making, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    return making.export_model(folder, golden=6, channels=1, steps=1, coupling="additive", precision="exact").bundle


@pytest.fixture
def opened(exact):
    bundle = Bundle.open(exact)
    return bundle.graph("encoder.onnx"), bundle.graph("decoder.onnx"), bundle.manifest


def found(opened, **changes):
    encoder, decoder, manifest = opened
    figures = replace(manifest.numerics.exact, **changes)
    weights = read_weights(encoder), read_weights(decoder)
    return false_facts(encoder, decoder, weights, figures, n_bits=manifest.model["n_bits"])


def say(model, name, value):
    entry = next(entry for entry in model.metadata_props if entry.key == KEY + name)
    assert entry.value != value
    entry.value = value


def test_what_a_fresh_bundle_says_is_true(opened):
    assert found(opened) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", "0" * 64), ("limit", "16777215"), ("grid_bits", "9"), ("spacings", "1 2"), ("native", "bf16")],
)
def test_graphs_that_disagree_are_told(opened, name, value):
    say(opened[1], name, value)
    assert any(f"exact.{name} is" in line and "in the decoder" in line for line in found(opened))


@pytest.mark.parametrize(("name", "value"), [("limit", "16777215"), ("grid_bits", "9"), ("spacings", "1 2")])
def test_graphs_that_agree_on_what_is_false_are_told(opened, name, value):
    for model in opened[:2]:
        say(model, name, value)
    assert any(f"exact.{name} is" in line and "in the manifest" in line for line in found(opened))


def test_what_the_graphs_compute_with_is_held_against_all_of_it(opened):
    """Metadata and manifest changed alike."""
    encoder, decoder, manifest = opened
    exact = manifest.numerics.exact
    spacings = tuple(3 * spacing for spacing in exact.spacings)
    for model in (encoder, decoder):
        say(model, "spacings", " ".join(f"{spacing:.17g}" for spacing in spacings))
        say(model, "limit", str(2 * exact.proof.limit))
        say(model, "fraction_bits", "1")
        say(model, "grid_bits", str(manifest.model["n_bits"] + 1))
    proof = replace(exact.proof, limit=2 * exact.proof.limit)
    lines = "; ".join(found(opened, spacings=spacings, proof=proof, fraction_bits=1))
    for part in (
        "the encoder holds its integers",
        "the decoder holds",
        "encoder's grid",
        "decoder's grid",
        "spacing is",
    ):
        assert part in lines


@pytest.mark.parametrize("name", ["largest_sum", "largest_value", "largest_operand"])
def test_bounds_that_prove_nothing_are_told(opened, name):
    proof = replace(opened[2].numerics.exact.proof, **{name: 2**24})
    assert found(opened, proof=proof) == [line for line in found(opened, proof=proof) if f"proof.{name}" in line] != []


def test_a_bundle_whose_metadata_were_changed_is_unsound(exact, tmp_path):
    import onnx

    folder = tmp_path / "b"
    shutil.copytree(exact, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    model = onnx.load(folder / "decoder.onnx")
    say(model, "id", "0" * 64)
    (folder / "decoder.onnx").write_bytes(model.SerializeToString())
    manifest["files"]["decoder.onnx"] = hashlib.sha256((folder / "decoder.onnx").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    results = [
        {check.name: check.found for check in check_weights(Bundle.open(place), plan=None).checks}
        for place in (exact, folder)
    ]
    assert "fail" not in results[0].values()
    assert "fail" in results[1].values()
