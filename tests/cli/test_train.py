import csv
import json

import numpy as np
import pytest

SMALL = ("--levels", 1, "--steps", 1, "--width", 4, "--n-bits", 5, "--batch-size", 8, "--no-tensorboard", "--quiet")


@pytest.fixture
def images(place):
    """40 pictures of 4x4 pixels in two classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    values = generator.integers(0, 128, (40, 4, 4, 3)) + 100 * labels[:, None, None, None]
    np.savez(place / "images.npz", images=values.astype(np.uint8), labels=labels)
    return place / "images.npz"


def steps(folder) -> int:
    with (folder / "log.csv").open() as handle:
        return max(int(row["step"]) for row in csv.DictReader(handle))


def test_train_resume_and_export(invoke, images, place):
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 3, *SMALL)
    assert result.exit_code == 0, result.output
    assert {"ckpt.pt", "model.safetensors", "log.csv", "samples"} <= {path.name for path in (place / "run").iterdir()}
    assert list((place / "run" / "samples").glob("step-*.png"))
    assert steps(place / "run") == 3

    result = invoke("train", "--resume", "run", "--max-steps", 5, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step"] == 5
    assert steps(place / "run") == 5
    assert invoke("export", "run/ckpt.pt", "--golden", 4).exit_code == 0


def test_a_run_is_not_overwritten(invoke, images, place):
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 0
    before = (place / "run" / "ckpt.pt").read_bytes()
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert (place / "run" / "ckpt.pt").read_bytes() == before
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 2, "--force", *SMALL).exit_code == 0
    assert (place / "run" / "ckpt.pt").read_bytes() != before


def test_class_conditional_models_need_and_take_a_class(invoke, images, place):
    options = ("--data", images, "--out", "run", "--max-steps", 1, "--class-conditional", *SMALL)
    assert invoke("train", *options).exit_code == 0
    assert invoke("export", "run/ckpt.pt").exit_code == 0
    decoder = "ckpt-bundle/decoder.onnx"
    assert invoke("sample", "--engine", decoder).exit_code == 2
    assert invoke("sample", "--engine", decoder, "--class", "0,1").exit_code == 0
    assert invoke("sample", "--engine", decoder, "--class", "2").exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--data and --out"),
        (("--data", "images.npz", "--out", "run"), "no end"),
        (("--data", "nowhere", "--out", "run", "--max-steps", 1), "nowhere"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--levels", 4), "multiples"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--image-size", "8x8"), "--resize"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--image-size", "8"), "--image-size"),
        (("--data", "images.npz", "--out", "run", "--max-steps", 1, "--device", "tpu"), "tpu"),
        (("--resume", "nothing"), "nothing"),
        (("--resume", "run", "--out", "other"), "--out"),
    ],
)
def test_what_cannot_be_trained_is_refused(invoke, images, place, options, words):
    result = invoke("train", *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in place.iterdir()] == ["images.npz"]


def test_a_folder_that_cannot_be_written_is_noticed_before_the_images_are_read(invoke, images, place, monkeypatch):
    read = []
    monkeypatch.setattr("glow_cli.train._load", lambda *arguments: read.append(arguments) or 1 / 0)
    (place / "file").write_text("no folder")
    result = invoke("train", "--data", images, "--out", "file/run", "--max-steps", 1, *SMALL)
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert not read
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 70
    assert read


@pytest.mark.parametrize(
    "option",
    [("--learning-rate", "9"), ("--width", "999"), ("--out", "elsewhere"), ("--inverse-penalty", "1"), ("--force",)],
)
def test_options_that_a_resumed_run_would_ignore_are_refused(images, place, invoke, option):
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL).exit_code == 0
    result = invoke("train", "--resume", "run", "--max-steps", 2, *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


def test_a_resumed_run_keeps_its_device_and_threads(images, place, invoke):
    from glow_core.training import read_run

    options = ("--device", "cpu", "--threads", 1)
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *options, *SMALL).exit_code == 0
    assert invoke("train", "--resume", "run", "--max-steps", 2).exit_code == 0
    settings = read_run(place / "run").settings
    assert (settings.device, settings.threads) == ("cpu", 1)


def test_the_penalties_reach_the_run_and_its_log(images, place, invoke):
    from glow_core.training import read_run

    options = ("--inverse-penalty", 0.05, "--inverse-penalty-every", 2, "--conditioning-penalty", 0.01)
    assert invoke("train", "--data", images, "--out", "run", "--max-steps", 3, *options, *SMALL).exit_code == 0
    assert invoke("train", "--resume", "run", "--max-steps", 4).exit_code == 0
    settings = read_run(place / "run").settings
    assert (settings.inverse_penalty, settings.inverse_penalty_every) == (0.05, 2)
    with (place / "run" / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [bool(row["inverse_penalty"]) for row in rows] == [False, True, False, True]
    assert all(float(row["conditioning_penalty"]) > 0 for row in rows)
