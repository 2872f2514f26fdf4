"""Class-conditional models on the command line, from labelled images to pictures of a class."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from glow_deploy.artifact.files import sha256_file
from glow_deploy.images import read_picture, write_png

CLASSES = 3


@pytest.fixture(scope="module", params=["conditional", "independent"])
def classes(request, tmp_path_factory, perturbed_glow):
    """A folder with ckpt.pt and bundle of a small model whose classes differ, with every kind of prior."""
    import torch

    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    folder = tmp_path_factory.mktemp("classes")
    config = GlowConfig(
        image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5, num_classes=CLASSES, prior=request.param
    )
    glow = perturbed_glow(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in glow.named_parameters():
            if name.endswith(("class_offset", "prior.mean")):  # far enough apart to be seen in 5 bits
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    save_checkpoint(glow, folder / "ckpt.pt")
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=7))
    return folder


@pytest.fixture
def encoded(invoke, classes, pictures, place):
    """The three pictures encoded as classes 0, 1, 2 in latents.npz."""
    result = invoke("encode", *pictures, "--engine", classes / "bundle" / "encoder.onnx", "--class", "0,1,2")
    assert result.exit_code == 0, result.output
    return place / "latents.npz"


def pixels(folder):
    return np.stack([read_picture(path) for path in sorted(folder.glob("*.png"))])


def rolled(bundle, target, *, roles):
    """Copy a bundle with every class table rolled by one class, and sign it again."""
    shutil.copytree(bundle, target)
    manifest = json.loads((target / "manifest.json").read_text())
    for role in roles:
        path = target / f"{role}.onnx"
        graph = onnx.load(path)
        tables = {node.input[0] for node in graph.graph.node if node.op_type == "Gather" and node.input[1] == "y"}
        assert tables
        for tensor in graph.graph.initializer:
            if tensor.name in tables:
                table = np.roll(numpy_helper.to_array(tensor), 1, axis=0)
                tensor.CopyFrom(numpy_helper.from_array(table, tensor.name))
        path.write_bytes(graph.SerializeToString())
        manifest["files"][path.name] = sha256_file(path)
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


# --- sampling


def test_each_column_of_the_grid_is_of_one_class(invoke, classes, place):
    decoder = classes / "bundle" / "decoder.onnx"
    for out, picked in (("all", "all"), ("one", "1")):
        result = invoke("sample", "--engine", decoder, "-n", 9, "--class", picked, "--out", f"{out}.png")
        assert result.exit_code == 0, result.output
        assert ("each column of one class" in result.output) == (out == "all")
    grids = {out: read_picture(place / f"{out}.png") for out in ("all", "one")}
    height, width = grids["one"].shape[1] // 3, grids["one"].shape[2] // 3
    assert grids["all"].shape == grids["one"].shape
    for row in range(3):
        same = [
            np.array_equal(
                grids["all"][:, row * height :, column * width :][:, :height, :width],
                grids["one"][:, row * height :, column * width :][:, :height, :width],
            )
            for column in range(3)
        ]
        assert same == [False, True, False]


def test_files_and_json_name_the_class(invoke, classes, place):
    decoder = classes / "bundle" / "decoder.onnx"
    result = invoke("sample", "--engine", decoder, "-n", 3, "--class", "2,0", "--out", "many", "--json", "-")
    assert json.loads(result.stdout)["classes"] == [2, 0]
    assert sorted(path.name for path in (place / "many").iterdir()) == [
        "sample-0000-class2.png",
        "sample-0001-class0.png",
        "sample-0002-class2.png",
    ]


# --- encoding and decoding


def test_pictures_come_back_as_the_class_they_were_encoded_with(invoke, classes, pictures, place, encoded):
    with np.load(encoded) as latents:
        assert latents["y"].tolist() == [0, 1, 2]
    decoder = classes / "bundle" / "decoder.onnx"
    assert invoke("decode", encoded, "--engine", decoder).exit_code == 0
    whole = np.stack([read_picture(path) for path in pictures])
    assert np.array_equal(pixels(place / "decoded"), np.round((whole >> 3) * 255.0 / 31).astype(np.uint8))


def test_decoding_as_another_class_changes_the_other_pictures_alone(invoke, classes, place, encoded):
    decoder = classes / "bundle" / "decoder.onnx"
    assert invoke("decode", encoded, "--engine", decoder).exit_code == 0
    result = invoke("decode", encoded, "--engine", decoder, "--class", 1, "--out", "as-1", "--json", "-")
    assert json.loads(result.stdout)["classes"] == [1, 1, 1]
    differs = (pixels(place / "decoded") != pixels(place / "as-1")).any(axis=(1, 2, 3))
    assert differs.tolist() == [True, False, True]


def test_latents_without_classes_need_them_said(invoke, classes, place, encoded):
    with np.load(encoded) as latents:
        np.savez(place / "bare.npz", **{name: latents[name] for name in ("z1", "z2")})
    decoder = classes / "bundle" / "decoder.onnx"
    result = invoke("decode", "bare.npz", "--engine", decoder)
    assert result.exit_code == 2
    assert "--class" in result.stderr
    assert invoke("decode", "bare.npz", "--engine", decoder, "--class", "0,1,2").exit_code == 0
    assert invoke("decode", encoded, "--engine", decoder).exit_code == 0
    bare = np.stack([read_picture(place / "decoded" / f"{row}.png") for row in range(3)])
    assert np.array_equal(bare, np.stack([read_picture(place / "decoded" / f"picture-{row}.png") for row in range(3)]))


def test_the_best_class_is_the_one_with_the_lowest_bits_per_dim(invoke, classes, pictures, place):
    encoder = classes / "bundle" / "encoder.onnx"
    each = []
    for label in range(CLASSES):
        result = invoke("encode", *pictures, "--engine", encoder, "--class", label, "--draws", 2, "--json", "-")
        each.append([image["bits_per_dim"] for image in json.loads(result.stdout)["images"]])
    result = invoke("encode", *pictures, "--engine", encoder, "--class", "best", "--draws", 2, "--json", "-")
    images = json.loads(result.stdout)["images"]
    assert [image["class"] for image in images] == np.argmin(each, axis=0).tolist()
    assert [image["bits_per_dim"] for image in images] == pytest.approx(np.min(each, axis=0))
    assert all(1 / CLASSES <= image["posterior"] <= 1 for image in images)
    with np.load(place / "latents.npz") as latents:
        assert latents["class_log_prob"].shape == (3, CLASSES)
        assert latents["class_log_prob"].argmax(axis=1).tolist() == latents["y"].tolist()


# --- refusals


@pytest.mark.parametrize("option", [[], ["--class", "3"], ["--class=-1"], ["--class", "0,1,9"], ["--class", "x"]])
@pytest.mark.parametrize("command", ["sample", "encode", "decode"])
def test_a_class_that_is_none_is_refused_before_anything_runs(
    invoke, classes, pictures, place, encoded, monkeypatch, command, option
):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    def run(*_):
        raise AssertionError("the engine ran")

    monkeypatch.setattr(OnnxRuntimeEngine, "_run", run)
    bundle = classes / "bundle"
    arguments = {
        "sample": ["--engine", bundle / "decoder.onnx", "--out", "new"],
        "encode": [*pictures, "--engine", bundle / "encoder.onnx", "--out", "new", "--batch", 1],
        "decode": [encoded, "--engine", bundle / "decoder.onnx", "--out", "new", "--batch", 1],
    }[command]
    if command == "decode" and not option:
        with np.load(encoded) as latents:
            np.savez(encoded, **{**latents, "y": np.array([0, 1, 3])})
    result = invoke(command, *arguments, *option)
    assert result.exit_code == 2, result.output
    numbers = not option or option[-1][-1] in "39"
    assert ("0 to 2" if numbers else "whole numbers") in result.stderr
    assert not (place / "new").exists()


def test_metadata_that_promises_more_classes_than_there_are_is_refused(invoke, classes, place):
    graph = onnx.load(classes / "bundle" / "decoder.onnx")
    next(entry for entry in graph.metadata_props if entry.key == "glow_deploy.num_classes").value = "9"
    onnx.save(graph, place / "decoder.onnx")
    result = invoke("sample", "--engine", "decoder.onnx", "--class", 8)
    assert result.exit_code == 2
    assert "is for 3 classes, its metadata says 9" in result.stderr


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_another_number_of_classes_than_of_pictures_is_refused(invoke, classes, pictures, encoded, command):
    bundle = classes / "bundle"
    arguments = [encoded, bundle / "decoder.onnx"] if command == "decode" else [*pictures, bundle / "encoder.onnx"]
    result = invoke(command, *arguments[:-1], "--engine", arguments[-1], "--class", "0,1")
    assert result.exit_code == 2
    assert "2 classes for 3" in result.stderr


def test_a_model_without_classes_takes_none(invoke, model, pictures, place):
    assert invoke("encode", *pictures, "--engine", model.encoder).exit_code == 0
    for picked in ("0", "0,1,2"):
        for arguments in (
            ["sample", "--engine", model.decoder],
            ["encode", *pictures, "--engine", model.encoder],
            ["decode", "latents.npz", "--engine", model.decoder],
        ):
            result = invoke(*arguments, "--class", picked)
            assert result.exit_code == 2, result.output
            assert "not class-conditional: leave --class out" in result.stderr
    result = invoke("sample", "--engine", model.decoder, "--class", "all")
    assert "not class-conditional: leave --class out" in result.stderr
    result = invoke("encode", *pictures, "--engine", model.encoder, "--class", "best")
    assert "not class-conditional: leave --class best out" in result.stderr


# --- verification


def labelled(path, labels):
    values = np.random.default_rng(4).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    np.savez(path, images=values, labels=labels)
    return path


def test_every_check_knows_the_classes(invoke, classes, place):
    data = labelled(place / "data.npz", np.arange(8) % CLASSES)
    check = ["verify", classes / "bundle", "--ckpt", classes / "ckpt.pt", "--data", data]
    result = invoke(*check, "--json", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads((place / "report.json").read_text())
    assert [images["source"].endswith("3 classes") for images in report["image_sets"]] == [True, True]
    assert report["random_latents"]
    again = invoke(*check, "--baseline", "report.json", "--backend", "onnxruntime-cpu")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), ("encoder", "decoder")], ids="-".join)
def test_a_wrong_order_of_the_classes_is_unsound(invoke, classes, place, roles):
    bundle = rolled(classes / "bundle", place / "rolled", roles=roles)
    result = invoke("verify", bundle, "--json", "report.json")
    assert result.exit_code == 1, result.output
    verdicts = json.loads((place / "report.json").read_text())["verdicts"]
    assert verdicts["samples"] == ("unsound" if "decoder" in roles else "sound")
    assert verdicts["likelihood"] == ("unsound" if "encoder" in roles else "sound")


def test_labels_of_data_are_checked_first(invoke, classes, place, monkeypatch):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    monkeypatch.setattr(OnnxRuntimeEngine, "_run", lambda *_: 1 / 0)
    for labels, reason in ((np.arange(8), "0..7, the model knows 0..2"), (np.arange(8) - 1, "-1..6")):
        result = invoke("verify", classes / "bundle", "--data", labelled(place / "data.npz", labels))
        assert result.exit_code == 2
        assert reason in result.stderr
        assert "data.npz" in result.stderr
    write_png(place / "plain.png", np.zeros((3, 8, 8), np.uint8))
    result = invoke("verify", classes / "bundle", "--data", "plain.png")
    assert result.exit_code == 2
    assert "no class labels" in result.stderr


def test_golden_images_take_turns_among_the_classes_of_a_sorted_set(invoke, classes, place):
    data = labelled(place / "data.npz", np.repeat(np.arange(CLASSES), 40))
    result = invoke("export", classes / "ckpt.pt", "--data", data, "--golden", 7, "--out", "bundle")
    assert result.exit_code == 0, result.output
    with np.load(place / "bundle" / "golden.npz") as golden:
        assert golden["y"].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_bench_runs_both_engines(invoke, classes):
    result = invoke(
        "bench",
        classes / "bundle",
        "--backend",
        "onnxruntime-cpu",
        "--iterations",
        2,
        "--batch",
        5,
        "--warmup-ms",
        0,
        "--json",
        "-",
    )
    assert result.exit_code == 0, result.output
    assert [timing["role"] for timing in json.loads(result.stdout)["timings"]] == ["encoder", "decoder"]
