from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from glow_deploy.images import read_picture, write_png

BOX = ["--box", "2,2,4,3"]
QUICK = ["--steps", "12"]


@pytest.fixture
def hole():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:5] = True
    return mask


@pytest.fixture
def mask(tmp_path, hole):
    path = tmp_path / "mask.png"
    write_png(path, (255 * hole[None]).astype(np.uint8))
    return path


def test_a_row_of_hole_fills_and_truth(invoke, model, place, pictures):
    result = invoke("inpaint", model.checkpoint, pictures[0], *BOX, *QUICK, "--samples", 2, "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in place.iterdir()) == ["filled.png", "found.json"]
    assert read_picture(place / "filled.png").shape == (3, 88, 4 * 66 + 2)
    found = json.loads((place / "found.json").read_text())
    assert found["known_kept"] is True
    assert (found["missing_pixels"], len(found["bits_per_dim"]), len(found["psnr"])) == (12, 2, 2)
    for words in ("12 of 64 pixels missing", "known pixels: every one as given", "pixel steps of them", "cost: "):
        assert words in result.output
    assert f"{found['evaluations']} passes with gradients" in result.output


def test_a_mask_and_a_folder_give_pictures_with_the_known_pixels_untouched(invoke, model, place, pictures, mask, hole):
    result = invoke("inpaint", model.checkpoint, pictures[0], "--mask", mask, *QUICK, "--samples", 2, "--out", "fills")
    assert result.exit_code == 0, result.output
    given = read_picture(pictures[0])
    for number in range(2):
        found = read_picture(place / "fills" / f"fill-{number:04d}.png")
        np.testing.assert_array_equal(found[:, ~hole], given[:, ~hole])
        assert (found[:, hole] != given[:, hole]).any()
    assert "dB" not in result.output, "what lies under a mask is not the truth"
    told = invoke(
        "inpaint", model.checkpoint, pictures[0], "--mask", mask, *QUICK, "--samples", 1, "--truth", pictures[1]
    )
    assert "dB in what was missing" in told.output
    assert read_picture(place / "filled.png").shape == (3, 88, 3 * 66 + 2)


def test_over_pixels(invoke, model, place, pictures):
    result = invoke("inpaint", model.checkpoint, pictures[0], *BOX, "--over", "pixels", "--samples", 1)
    assert result.exit_code == 0, result.output
    assert "1 fill of" in result.output
    assert "over pixels" in result.output


@pytest.mark.parametrize("command", ["inpaint", "project"])
def test_the_deployed_encoder_agrees(invoke, model, place, pictures, command):
    extra = [*BOX, "--samples", 1] if command == "inpaint" else []
    result = invoke(
        command, model.checkpoint, pictures[0], *extra, *QUICK, "--bundle", model.bundle, "--json", "found.json"
    )
    assert result.exit_code == 0, result.output
    assert "onnxruntime-cpu" in result.output
    found = json.loads((place / "found.json").read_text())
    own = found["bits_per_dim"] if command == "inpaint" else found["bits_per_dim_after"]
    np.testing.assert_allclose(found["bits_per_dim_deployed"], own, atol=1e-4)


def test_the_bundle_of_another_model_is_refused(invoke, model, own_model, place, pictures):
    import torch

    from glow_core import load_checkpoint, save_checkpoint

    glow = load_checkpoint(own_model.checkpoint)
    with torch.no_grad():
        next(glow.parameters()).add_(0.1)
    save_checkpoint(glow, own_model.checkpoint)
    for command, extra in (("inpaint", BOX), ("project", [])):
        result = invoke(command, own_model.checkpoint, pictures[0], *extra, *QUICK, "--bundle", own_model.bundle)
        assert (result.exit_code, "another model" in result.stderr) == (2, True)
    assert list(place.iterdir()) == []


def test_the_same_seed_gives_the_same_file(invoke, model, place, pictures):
    for out, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        done = invoke("inpaint", model.checkpoint, pictures[0], *BOX, *QUICK, "--seed", seed, "--out", out)
        assert done.exit_code == 0, done.output
    assert (place / "a.png").read_bytes() == (place / "b.png").read_bytes()
    assert (place / "a.png").read_bytes() != (place / "c.png").read_bytes()


def test_quiet_and_json_on_stdout(invoke, model, place, pictures):
    assert invoke("inpaint", model.checkpoint, pictures[0], *BOX, *QUICK, "--quiet").output == ""
    assert invoke("project", model.checkpoint, pictures[0], *QUICK, "--quiet").output == ""
    result = invoke("project", model.checkpoint, pictures[0], *QUICK, "--json", "-")
    assert json.loads(result.stdout)["over"] == "latents"


def test_pictures_of_another_size_need_resize(invoke, model, place, tmp_path):
    large, large_mask = tmp_path / "large.png", tmp_path / "large-mask.png"
    Image.new("RGB", (20, 12), (200, 30, 30)).save(large)
    marked = np.zeros((12, 20), np.uint8)
    marked[:, :10] = 255
    Image.fromarray(marked).save(large_mask)
    arguments = ["inpaint", model.checkpoint, large, "--mask", large_mask, *QUICK, "--samples", 1]
    refused = invoke(*arguments)
    assert (refused.exit_code, "--resize" in refused.stderr) == (2, True)
    done = invoke(*arguments, "--resize")
    assert done.exit_code == 0, done.output
    assert "32 of 64 pixels missing" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inpaint", "C", "P"], "--mask FILE or by --box"),
        (["inpaint", "C", "P", *BOX, "--mask", "P"], "--mask FILE or by --box"),
        (["inpaint", "C", "P", "--box", "1,2"], "top,left,height,width"),
        (["inpaint", "C", "P", "--box", "0,0,9,1"], "does not lie inside"),
        (["inpaint", "C", "P", "--mask", "nowhere.png"], "no such file"),
        (["inpaint", "C", "P", "--mask", "P"], "in colour"),
        (["inpaint", "C", "nowhere.png", *BOX], "no such file"),
        (["inpaint", "nowhere.pt", "P", *BOX], "nowhere.pt"),
        (["inpaint", "C", "P", *BOX, "--out", "a.jpg"], "PNG"),
        (["inpaint", "C", "P", *BOX, "--out", "no/folder/a.png"], "no folder"),
        (["inpaint", "C", "P", *BOX, "--class", "1"], "not class-conditional"),
        (["inpaint", "C", "P", *BOX, "--class", "1,2"], "of one"),
        (["inpaint", "C", "P", *BOX, "--bundle", "nowhere"], "nowhere"),
        (["inpaint", "C", "P", *BOX, "--device", "tpu"], "tpu"),
        (["project", "C", "P", "--out", "."], "name a .png"),
        (["project", "C", "P", "--compare", "a.gif"], "name a .png"),
        (["project", "C", "nowhere.png"], "no such file"),
        (["project", "C", "P", "--truth", "nowhere.png"], "no such file"),
        (["project", "C", "P", "--bundle", "P"], "not a bundle"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(invoke, model, place, pictures, arguments, words):
    names = {"C": model.checkpoint, "P": pictures[0]}
    result = invoke(*(names.get(part, part) for part in arguments), *QUICK)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(place.iterdir()) == []


def test_without_torch_it_says_what_is_missing(run_process, model, place, pictures):
    done = run_process("inpaint", model.checkpoint, pictures[0], *BOX, without=["torch"])
    assert done.returncode == 2
    assert "needs torch" in done.stderr
    assert "glow-deploy[train]" in done.stderr


def test_boxes_are_in_pixels_of_the_file(invoke, model, place, tmp_path):
    """A file of twice the size: the same hole as a box of half the numbers in the model's own pixels."""
    from glow_deploy.images import write_png

    values = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    write_png(tmp_path / "small.png", values)
    write_png(tmp_path / "large.png", values.repeat(2, axis=1).repeat(2, axis=2))
    options = ("--steps", 3, "-n", 1)
    double = ("--resize", "--box", "4,4,8,6")
    done = invoke("inpaint", model.checkpoint, tmp_path / "large.png", *double, *options, "--json", "l.json")
    assert done.exit_code == 0, done.output
    assert "16x16 (height x width), and of the model, 8x8: 4,4,8,6 is 2,2,4,3" in " ".join(done.output.split())
    done = invoke("inpaint", model.checkpoint, tmp_path / "small.png", *BOX, *options, "--json", "s.json")
    assert "pixels of the file" not in done.output
    large, small = (json.loads((place / name).read_text()) for name in ("l.json", "s.json"))
    assert large["missing_pixels"] == small["missing_pixels"] == 12
