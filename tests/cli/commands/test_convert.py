"""Other projects' checkpoints on the command line: export, verify, convert, inspect, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from glow_cli.common.options import import_options

from glow_core import read_checkpoint, save_checkpoint
from glow_deploy.artifact.bundle import Bundle

FIXTURES = Path(__file__).parents[2] / "fixtures" / "other_projects"
FOLDERS = sorted(path.parent.name for path in FIXTURES.glob("*/options.json"))


def checkpoint(folder: str) -> tuple[Path, list[str]]:
    """A file, and the options that reading it takes."""
    told = json.loads((FIXTURES / folder / "options.json").read_text())
    file = FIXTURES / folder / told.pop("file")
    return file, [word for name, value in told.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def without(options: list[str], name: str) -> list[str]:
    index = options.index(name)
    return options[:index] + options[index + 2 :]


def test_every_project_has_a_checkpoint():
    assert {name.partition("_")[0] for name in FOLDERS} == {
        "chaiyujin",
        "corenel",
        "normflows",
        "openai",
        "rosinality",
        "y0ast",
    }


@pytest.mark.parametrize(
    "folder",
    # One of each project at once, the other of each with the slow tests.
    [pytest.param(name, marks=[pytest.mark.slow] if "additive" in name else []) for name in FOLDERS],
)
def test_exports_verifies_and_converts(folder, invoke, place):
    file, options = checkpoint(folder)
    result = invoke("export", file, *options, "--out", "bundle", "--golden", "4", "--json", "export.json")
    assert result.exit_code == 0, result.stderr
    assert "note: read as a checkpoint of " in result.stdout
    assert "export --data SPEC" in result.stdout
    manifest = Bundle.open(place / "bundle").manifest
    assert folder.partition("_")[0] in manifest.source["project"]

    # The bundle remembers what it took to read the file.
    result = invoke("verify", "bundle", "--ckpt", file, "--random-draws", "0", "--json", "verify.json")
    assert result.exit_code == 0, result.stderr
    names = {row["name"] for row in json.loads((place / "verify.json").read_text())["backends"] if row["used"]}
    assert {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"} <= names

    result = invoke("convert", file, *options, "--out", "native.pt")
    assert result.exit_code == 0, result.stderr
    assert "wrote native.pt" in result.stdout
    origin = read_checkpoint(place / "native.pt").origin
    assert (origin.project, origin.options) == (manifest.source["project"], manifest.source["options"])
    result = invoke("export", "native.pt", "--out", "again", "--golden", "4")
    assert result.exit_code == 0, result.stderr
    assert f"note: converted from a checkpoint of {origin.project}" in result.stdout
    assert all(f"note: {note}" in result.stdout for note in origin.notes)
    assert Bundle.open(place / "again").manifest.source == manifest.source
    for name in ("encoder.onnx", "decoder.onnx", "golden.npz"):
        assert (place / "again" / name).read_bytes() == (place / "bundle" / name).read_bytes()
    for bundle, ckpt in (("bundle", "native.pt"), ("again", file)):
        result = invoke("verify", bundle, "--ckpt", ckpt, "--random-draws", "0", "--backend", "pytorch-fp32")
        assert result.exit_code == 0, result.stderr


@pytest.fixture
def without_origin(invoke, place):
    """The bundle of a converted checkpoint that does not say where it came from, as the first ones did not."""

    def make(folder):
        file, options = checkpoint(folder)
        save_checkpoint(read_checkpoint(file, options=_told(options)).glow(), place / "native.pt")
        assert invoke("export", "native.pt", "--out", "bundle", "--golden", "4").exit_code == 0
        assert Bundle.open(place / "bundle").manifest.source is None
        return file

    return make


def _told(options):
    """The words of the command line as `read_checkpoint` takes them."""
    values = dict(zip(options[::2], options[1::2], strict=True))
    return import_options(
        image_size=values.get("--image-size"),
        n_bits=int(values["--n-bits"]) if "--n-bits" in values else None,
        input_range=values.get("--input-range"),
        scale_map=values.get("--scale-map"),
    )


@pytest.mark.parametrize("folder", ["rosinality_affine_lu", "openai_affine", "y0ast_affine_lu"])
def test_what_the_model_says_itself_is_enough_to_read_the_original(invoke, without_origin, folder):
    file = without_origin(folder)
    for command in ("verify", "bench"):
        words = ("--random-draws", "0") if command == "verify" else ("--iterations", "1", "--warmup-ms", "0")
        result = invoke(command, "bundle", "--ckpt", file, "--backend", "pytorch-fp32", *words)
        assert result.exit_code == 0, result.stderr


def test_what_nobody_knows_of_the_original_is_not_asked_for_by_options_that_there_are_not(invoke, without_origin):
    file = without_origin("normflows_affine_lu")
    result = invoke("verify", "bundle", "--ckpt", file)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
    assert f"{file}: the file does not say what it was fed, " in result.stderr
    assert "give the checkpoint that it was exported from" in result.stderr
    assert "--" not in result.stderr
    assert invoke("verify", "bundle", "--ckpt", "native.pt", "--random-draws", "0").exit_code == 0


def test_another_projects_checkpoint_of_another_model_is_named(invoke, place, model):
    """A file that says its image size, one that does not, and this tool's own for another project's bundle."""
    file, options = checkpoint("rosinality_affine_lu")
    assert invoke("export", file, *options, "--out", "bundle", "--golden", "4").exit_code == 0
    for bundle, ckpt in (
        (model.bundle, checkpoint("y0ast_affine_lu")[0]),
        (model.bundle, file),
        ("bundle", model.checkpoint),
        ("bundle", checkpoint("rosinality_additive_plain")[0]),
    ):
        for command in ("verify", "bench"):
            result = invoke(command, bundle, "--ckpt", ckpt)
            assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
            assert f"{ckpt} is not the model that {bundle} was exported from (" in result.stderr


def test_converting_twice_keeps_where_a_checkpoint_came_from(invoke, place):
    file, options = checkpoint("normflows_affine_lu")
    assert invoke("convert", file, *options, "--out", "once.pt").exit_code == 0
    result = invoke("convert", "once.pt", "--out", "twice.safetensors")
    assert "once.pt: a checkpoint of this tool, converted from one of normflows" in result.stdout
    once, twice = (read_checkpoint(place / name).origin for name in ("once.pt", "twice.safetensors"))
    assert once == twice
    assert once.notes


def test_likelihoods_on_real_images_are_told(invoke, place):
    file, options = checkpoint("y0ast_affine_lu")
    with np.load(file.parent / "reference.npz") as archive:
        pixels, bits = archive["pixels"], archive["bits_per_dim"]
    np.savez(place / "images.npz", images=pixels.transpose(0, 2, 3, 1))
    result = invoke("export", file, *options, "--data", "images.npz", "--golden", "3", "--out", "bundle")
    assert result.exit_code == 0, result.stderr
    assert f"3 images of --data have {bits.mean():.3f} bits/dim at bin centres" in result.stdout
    assert "no better than pixels drawn at random (8 bits/dim)" in result.stdout  # the weights are random


def test_convert_keeps_what_a_native_checkpoint_holds(invoke, place, model):
    result = invoke("convert", model.checkpoint, "--out", "weights.safetensors")
    assert result.exit_code == 0, result.stderr
    assert "a checkpoint of this tool" in result.stdout
    ours, theirs = read_checkpoint(place / "weights.safetensors"), read_checkpoint(model.checkpoint)
    assert ours.config == theirs.config
    assert all(torch.equal(tensor, theirs.model[name]) for name, tensor in ours.model.items())


def test_convert_names_its_file_after_the_source_and_replaces_none(invoke, place):
    file, options = checkpoint("chaiyujin_affine_lu")
    assert invoke("convert", file, *options).exit_code == 0
    written = (place / "trained-glow.pt").read_bytes()
    result = invoke("convert", file, *options)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
    assert "--force" in result.stderr
    assert (place / "trained-glow.pt").read_bytes() == written
    assert invoke("convert", file, *options, "--force").exit_code == 0


@pytest.mark.parametrize("command", ["export", "convert"])
@pytest.mark.parametrize(
    ("folder", "left_out", "asked"),
    [
        ("rosinality_affine_lu", "--image-size", "--image-size HxW"),
        ("rosinality_affine_lu", "--n-bits", "--n-bits N"),
        ("normflows_affine_lu", "--scale-map", "--scale-map sigmoid"),
        ("normflows_affine_lu", "--input-range", "--input-range unit"),
        ("normflows_affine_lu", "--image-size", "--image-size HxW"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(invoke, place, command, folder, left_out, asked):
    file, options = checkpoint(folder)
    result = invoke(command, file, *without(options, left_out))
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
    assert asked in result.stderr
    assert str(file) in result.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "extra", "words"),
    [
        ("chaiyujin_affine_lu", ["--image-size", "32"], "--image-size says"),
        ("normflows_affine_lu", ["--scale-map", "exp"], "exp"),
        ("rosinality_affine_lu", ["--image-size", "18"], "multiples of 4"),
        ("rosinality_affine_lu", ["--image-size", "16x"], "--image-size is '16x'"),
        ("rosinality_affine_lu", ["--image-size", "16x16x3"], "--image-size is '16x16x3'"),
        ("rosinality_affine_lu", ["--n-bits", "9"], "--n-bits"),
    ],
)
def test_what_cannot_be_is_refused(invoke, place, folder, extra, words):
    file, options = checkpoint(folder)
    options = without(options, extra[0]) if extra[0] in options else options
    result = invoke("export", file, *options, *extra)
    assert result.exit_code == 2
    assert words in result.stderr
    assert list(place.iterdir()) == []


def test_options_against_a_native_checkpoint_are_refused(invoke, place, model):
    result = invoke("export", model.checkpoint, "--n-bits", "8")
    assert result.exit_code == 2
    assert "--n-bits says 8, but the checkpoint itself says 5" in result.stderr
    assert invoke("export", model.checkpoint, "--n-bits", "5", "--image-size", "8").exit_code == 0


def test_a_layout_nobody_knows_is_named(invoke, place):
    torch.save({"encoder.weight": torch.zeros(3, 3)}, place / "other.pt")
    result = invoke("export", "other.pt")
    assert result.exit_code == 2
    assert "no layout known here" in result.stderr
    assert "rosinality/glow-pytorch" in result.stderr


def test_inspect_tells_whose_a_checkpoint_is(invoke):
    file, _ = checkpoint("y0ast_affine_lu")
    result = invoke("inspect", file)
    assert result.exit_code == 0, result.stderr
    assert "y0ast/Glow-PyTorch" in result.stdout
    assert "16x16" in result.stdout


def test_inspect_tells_what_a_checkpoint_was_converted_from(invoke, place):
    file, options = checkpoint("normflows_affine_lu")
    assert invoke("convert", file, *options, "--out", "native.pt").exit_code == 0
    found = json.loads(invoke("inspect", "native.pt", "--json", "-").stdout)
    assert "written_by" not in found
    assert found["converted_from"] == "normflows"
    assert found["source_options"] == {
        "image_size": [16, 16],
        "n_bits": 8,
        "input_range": "unit",
        "scale_map": "sigmoid",
    }
    assert [row["note"] for row in found["taken_for_granted"]] == [*read_checkpoint(place / "native.pt").origin.notes]


def test_inspect_tells_what_a_checkpoint_leaves_out(invoke):
    file, _ = checkpoint("rosinality_affine_lu")
    result = invoke("inspect", file)
    assert result.exit_code == 0, result.stderr
    assert "rosinality/glow-pytorch" in result.stdout
    assert f"glow-deploy export {file} --image-size HxW --n-bits N" in result.stdout
    assert "give" not in result.stdout
    assert "blocks.0.flows.0.actnorm.loc" in result.stdout


def test_inspect_knows_a_checkpoint_that_is_a_part_of_something(invoke, place):
    file, _ = checkpoint("rosinality_affine_lu")
    state = torch.load(file, weights_only=True)
    inner = {name.replace("module.", "net.glow.", 1): tensor for name, tensor in state.items()}
    torch.save({"state_dict": inner}, place / "part.ckpt")
    result = invoke("inspect", "part.ckpt")
    assert result.exit_code == 0, result.stderr
    assert "rosinality/glow-pytorch" in result.stdout


def test_the_help_names_every_project_that_is_read():
    from glow_cli.commands.convert import convert

    from glow_core.readers import READERS

    words = " ".join((convert.__doc__ or "").split())
    assert [reader.project for reader in READERS if reader.project not in words] == []
