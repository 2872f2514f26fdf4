import json

import numpy as np
import pytest
from PIL import Image

from glow_deploy.images import CAPTION_HEIGHT, grid, read_picture


def test_a_strip(invoke, model, place, pictures):
    result = invoke("interpolate", model.bundle, *pictures[:2], "--steps", 5, "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in place.iterdir()) == ["found.json", "interpolation.png"]
    assert "5 pictures" in result.output
    assert "ends: every pixel as in the files" in result.output
    found = json.loads((place / "found.json").read_text())
    assert (found["nonfinite"], found["ends_exact"], found["steps"]) == (0, [True, True], 5)
    assert len(found["clipped_share"]) == 5


def test_the_ends_of_a_strip_are_the_pictures(invoke, model, place, pictures):
    assert invoke("interpolate", model.bundle, *pictures[:2], "--mode", "spherical").exit_code == 0
    strip = read_picture(place / "interpolation.png")
    for path, left in ((pictures[0], 0), (pictures[1], strip.shape[2] - 68)):
        five_bits = (read_picture(path).astype(int) >> 3) * 255 / 31
        cell = grid(np.rint(five_bits).astype(np.uint8)[None])
        np.testing.assert_array_equal(strip[:, CAPTION_HEIGHT:, left : left + 68], cell)
    assert (strip[:, :CAPTION_HEIGHT] < 128).any()  # words above the cells


def test_two_modes_differ(invoke, model, place, pictures):
    for mode in ("linear", "spherical"):
        assert invoke("interpolate", model.bundle, *pictures[:2], "--mode", mode, "--out", f"{mode}.png").exit_code == 0
    assert (place / "linear.png").read_bytes() != (place / "spherical.png").read_bytes()


def test_a_grid_of_four_corners(invoke, model, place, pictures):
    result = invoke("interpolate", model.bundle, *pictures, pictures[0], "--steps", 3)
    assert result.exit_code == 0, result.output
    assert read_picture(place / "interpolation.png").shape == (3, 200, 200)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [(["--out", "a.gif"], "GIF"), (["--out", "a.apng"], "PNG"), (["--out", "a.png", "--animate"], "PNG")],
)
def test_animations(invoke, model, place, pictures, arguments, kind):
    result = invoke("interpolate", model.bundle, *pictures[:2], "--steps", 4, *arguments)
    assert result.exit_code == 0, result.output
    with Image.open(place / arguments[1]) as image:
        assert (image.format, image.n_frames) == (kind, 6)


def test_the_engines_by_name(invoke, model, place, pictures):
    named = invoke("interpolate", *pictures[:2], "--encoder", model.encoder, "--decoder", model.decoder)
    assert named.exit_code == 0, named.output
    of_bundle = invoke("interpolate", model.bundle, *pictures[:2], "--out", "other.png")
    assert of_bundle.exit_code == 0
    assert (place / "interpolation.png").read_bytes() == (place / "other.png").read_bytes()


def test_what_does_not_decode_is_said_and_never_drawn(invoke, model, place, pictures, monkeypatch):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    whole = OnnxRuntimeEngine.run

    def spoiled(self, feeds):
        outputs = {name: array.copy() for name, array in whole(self, feeds).items()}
        if "x" in outputs:
            outputs["x"][2] = np.inf
        return outputs

    monkeypatch.setattr(OnnxRuntimeEngine, "run", spoiled)
    result = invoke("interpolate", model.bundle, *pictures[:2], "--steps", 4)
    assert result.exit_code == 0, result.output
    assert "not finite: 1 of 4 pictures, drawn as a cross" in result.output
    cell = read_picture(place / "interpolation.png")[
        :, CAPTION_HEIGHT + 2 : CAPTION_HEIGHT + 66, 2 + 2 * 66 : 66 + 2 * 66
    ]
    assert sorted(set(cell.ravel().tolist())) == [128, 255]
    result = invoke("interpolate", model.bundle, *pictures[:2], "--steps", 4, "--out", "a.apng")
    assert "not finite: 1 of 4 pictures, left out" in result.output
    with Image.open(place / "a.apng") as image:
        assert image.n_frames == 4
    result = invoke("interpolate", model.bundle, *pictures[:2], "--steps", 3, "--out", "b.png")
    assert result.exit_code == 1, "an end that does not decode is an unsound model"
    assert not (place / "b.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["B"], "after the engines came 0 pictures"),
        (["B", "P", "P", "P"], "after the engines came 3 pictures"),
        (["B", "P", "nowhere.png"], "no such file"),
        (["B", "P", "P", "--out", "a.jpg"], "name a .png"),
        (["B", "P", "P", "--out", "."], "name a .png"),
        (["B", "P", "P", "P", "P", "--out", "a.gif"], "between two pictures"),
        (["B", "P", "P", "P", "P", "--steps", "40"], "1600 pictures do not fit"),
        (["B", "P", "P", "--class", "1"], "not class-conditional"),
        (["B", "P", "P", "--class", "1,2,3"], "3 classes for 2 pictures"),
        (["B", "P", "P", "--class", "first"], "or best"),
        (["P", "P", "P"], "not a bundle"),
        (["P", "P", "--encoder", "E"], "both files with --encoder and --decoder"),
        (["P", "P", "--encoder", "E", "--decoder", "E"], "the decoder is needed"),
        (["B", "P", "P", "--flavor", "rtx"], "compile"),
        (["B", "P", "P", "--device", "tpu"], "device"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(invoke, model, place, pictures, arguments, words):
    names = {"B": model.bundle, "P": pictures[0], "E": model.encoder}
    result = invoke("interpolate", *(names.get(part, part) for part in arguments))
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(place.iterdir()) == []


def test_pictures_of_another_size_need_resize(invoke, model, place, pictures, tmp_path):
    large = tmp_path / "large.png"
    Image.new("RGB", (20, 12), (200, 30, 30)).save(large)
    refused = invoke("interpolate", model.bundle, pictures[0], large)
    assert (refused.exit_code, "--resize" in refused.stderr) == (2, True)
    assert invoke("interpolate", model.bundle, pictures[0], large, "--resize").exit_code == 0


def test_quiet_and_json_on_stdout(invoke, model, place, pictures):
    assert invoke("interpolate", model.bundle, *pictures[:2], "--quiet").output == ""
    result = invoke("interpolate", model.bundle, *pictures[:2], "--json", "-")
    assert json.loads(result.stdout)["mode"] == "linear"


def test_it_runs_without_torch(run_process, model, place, pictures):
    done = run_process("interpolate", model.bundle, *pictures[:2], without=["torch"])
    assert done.returncode == 0, done.stderr
