from __future__ import annotations

import json

import numpy as np
import pytest

from glow_deploy import open_engine
from glow_deploy.data import load_images
from glow_deploy.errors import UsageError
from glow_deploy.images import read_picture
from glow_deploy.latents import SampleSettings, sample


def test_a_grid_by_default(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder)
    assert result.exit_code == 0, result.output
    assert [path.name for path in place.iterdir()] == ["samples.png"]
    assert "non-finite draws: 0" in result.output
    assert read_picture(place / "samples.png").shape[0] == 3


def test_the_seed_decides_whatever_the_batch(invoke, model, place):
    for out, seed, batch in (("a", 5, 64), ("b", 5, 3), ("c", 6, 64)):
        assert (
            invoke(
                "sample", "--engine", model.decoder, "-n", 7, "--seed", seed, "--batch", batch, "--out", out
            ).exit_code
            == 0
        )
    pictures = {out: [(place / out / f"sample-{i:04d}.png").read_bytes() for i in range(7)] for out in "abc"}
    assert pictures["a"] == pictures["b"]
    assert not any(a == c for a, c in zip(pictures["a"], pictures["c"], strict=True))


def test_temperature_0_gives_equal_pictures(invoke, model, place):
    assert invoke("sample", "--engine", model.decoder, "-n", 3, "-t", 0, "--out", "cold").exit_code == 0
    assert len({path.read_bytes() for path in place.glob("cold/*.png")}) == 1


def test_json_alone_on_stdout(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "-n", 2, "--json", "-")
    found = json.loads(result.stdout)
    assert (found["count"], found["nonfinite_draws"], found["backend"]) == (2, 0, "onnxruntime-cpu")


def test_quiet_prints_nothing(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_redrawn_samples_are_counted_and_never_written(invoke, model, place, monkeypatch):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    whole = OnnxRuntimeEngine.run
    calls = []

    def spoiled(self, feeds):
        outputs = {name: array.copy() for name, array in whole(self, feeds).items()}
        if not calls:
            outputs["x"][[1, 3]] = np.nan
        calls.append(1)
        return outputs

    monkeypatch.setattr(OnnxRuntimeEngine, "run", spoiled)
    result = invoke("sample", "--engine", model.decoder, "-n", 5, "--out", "some", "--json", "counts.json")
    assert "non-finite draws: 2; drawn again: 2" in result.output
    assert json.loads((place / "counts.json").read_text())["redrawn_samples"] == 2
    assert len(list(place.glob("some/*.png"))) == 5


def test_sampling_runs_without_torch_and_says_so_if_export_cannot(run_process, model, place):
    done = run_process("sample", "--engine", model.decoder, without=["torch", "glow_core.model"])
    assert done.returncode == 0, done.stderr
    done = run_process("export", model.checkpoint, without=["torch"])
    assert done.returncode == 2
    assert "glow-deploy[train]" in done.stderr


def test_pictures_do_not_go_to_stdout(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "--out", "-")
    assert result.exit_code == 2
    assert "not written to stdout" in result.stderr
    assert not list(place.iterdir())


def test_the_folder_is_synced_once_after_many_pictures(invoke, model, place, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(handle))
    assert invoke("sample", "--engine", model.decoder, "-n", 5, "--batch", 2, "--out", "many").exit_code == 0
    assert len(synced) == 1


@pytest.mark.parametrize("temperature", ["1e300", "101", "inf", "nan", "-1"])
def test_a_temperature_out_of_range_is_bad_input(invoke, model, place, temperature):
    assert invoke("sample", "--engine", model.decoder, "-n", 1, "-t", temperature).exit_code == 2
    assert list(place.iterdir()) == []
    with pytest.raises(UsageError, match="temperature"):
        SampleSettings(temperature=float(temperature))


def test_a_sweep_has_a_row_for_each_temperature_of_the_same_samples(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "-n", 3, "--sweep", "0,0.5,1", "--json", "-")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["temperature"] == [0.0, 0.5, 1.0]
    picture = read_picture(place / "samples.png")
    cell = 66  # pictures of 8 enlarged to 64, and the padding
    height, width = picture.shape[1:]
    assert height == 3 * cell + 2
    left = width - (3 * cell + 2)
    assert left > 20
    cells = picture[:, 2:, left + 2 :]
    rows = [[cells[:, r * cell : r * cell + 64, c * cell : c * cell + 64] for c in range(3)] for r in range(3)]
    assert all(np.array_equal(rows[0][0], other) for other in rows[0])  # at 0 every sample is the same
    assert not np.array_equal(rows[1][0], rows[1][1])
    invoke("sample", "--engine", model.decoder, "-n", 3, "-t", "0.5", "--out", "alone.png")
    alone = read_picture(place / "alone.png")[:, 2:66, 2:66]
    assert np.array_equal(rows[1][0], alone)


def test_one_temperature_a_level(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "-n", 4, "-t", "0.9,0.5")
    assert result.exit_code == 0, result.stderr
    assert "z1 0.9, z2 0.5" in result.stdout
    with open_engine(model.decoder) as decoder:
        apart = next(sample(decoder, count=4, settings=SampleSettings(temperature=(0.9, 0.5))))
        both = next(sample(decoder, count=4, settings=SampleSettings(temperature=0.9)))
    assert np.array_equal(apart.z[0], both.z[0])
    np.testing.assert_allclose(apart.z[1], both.z[1] * np.float32(0.5 / 0.9), rtol=1e-6)
    result = invoke("sample", "--engine", model.decoder, "-t", "0.9,0.5,0.1")
    assert result.exit_code == 2
    assert "3 temperatures were given for the 2 levels" in result.stderr


def test_samples_in_one_archive_are_read_as_a_data_set(invoke, model, place):
    result = invoke("sample", "--engine", model.decoder, "-n", 7, "--batch", 3, "--out", "samples.npz")
    assert result.exit_code == 0, result.stderr
    images = load_images("samples.npz", split="test", size=(8, 8), channels=3)
    assert len(images) == 7
    invoke("sample", "--engine", model.decoder, "-n", 7, "--out", "folder")
    first = read_picture(place / "folder" / "sample-0000.png")
    assert np.array_equal(images.batch(np.arange(1))[0], first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sweep", "0,x"], "--sweep is '0,x'"),
        (["--sweep", "-1"], "--sweep is '-1'"),
        (["--sweep", "0,1", "--out", "folder"], "--sweep draws one grid"),
        (["--sweep", "0,1", "--out", "a.npz"], "--sweep draws one grid"),
        (["--sweep", "0,1", "-t", "0.5"], "leave --temperature away"),
        (["--sweep", "0,1", "-n", "1000"], "do not fit one picture"),
        (["-t", ""], "--temperature is ''"),
    ],
)
def test_sweeps_and_temperatures_that_cannot_be(invoke, model, place, options, words):
    result = invoke("sample", "--engine", model.decoder, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert list(place.iterdir()) == []
