from __future__ import annotations

import json

import numpy as np
import pytest

from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.errors import BundleError, EngineError
from glow_deploy.images import write_png

COUNT = 120


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Pictures of the model's size, some brighter on the left, with tables of both kinds."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    flags = rng.random((COUNT, 2)) < 0.5
    values = rng.integers(90, 130, (COUNT, 3, 8, 8))
    values[..., :4] += 60 * flags[:, 0, None, None, None]
    (folder / "pictures").mkdir()
    rows, celeba = ["file,left,coin,split"], [str(COUNT), "left coin"]
    for number, (value, (left, coin)) in enumerate(zip(values.astype(np.uint8), flags.tolist(), strict=True)):
        write_png(folder / "pictures" / f"{number:03d}.png", value)
        rows.append(f"{number:03d}.png,{left},{coin},x")
        celeba.append(f"{number:03d}.png  {2 * left - 1} {2 * coin - 1}")
    (folder / "tags.csv").write_text("\n".join(rows))
    (folder / "celeba.txt").write_text("\n".join(celeba) + "\n")
    whole = {"images": values.astype(np.uint8).transpose(0, 2, 3, 1)}
    np.savez(folder / "whole.npz", **whole, attributes=flags, attribute_names=np.array(["left", "coin"]))
    return folder


@pytest.fixture
def measure(invoke, model, labelled, place):
    def run(*arguments, data="pictures", bundle=None):
        options = ("--data", labelled / data, "--fewest", 4, "--range-images", 4, *arguments)
        return invoke("directions", bundle or model.bundle, *options)

    return run


def test_a_folder_and_a_table(measure, model, labelled, place):
    result = measure("--labels", labelled / "tags.csv", "--tags", "left,coin", "--json", "found.json", "--out", "a.npz")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in place.iterdir()) == ["a.npz", "found.json"]
    assert "108 images averaged, 12 held out" in result.output
    assert "wrote a.npz" in result.output
    found = json.loads((place / "found.json").read_text())
    left, coin = found["attributes"]
    assert (left["name"], coin["name"]) == ("left", "coin")
    assert left["with"] + left["without"] == found["averaged"] == 108
    assert left["held_out_with"] + left["held_out_without"] == found["held_out"] == 12
    assert left["auc"] > 0.95
    assert left["auc_interval"][0] < left["auc"]
    assert -3 <= left["range"][0] < 0 < left["range"][1] <= 3
    assert found["model_id"] == engine_model_id(model.encoder)


def test_every_kind_of_table_gives_the_same_directions(measure, labelled, place):
    for out, options in (
        ("csv.npz", ("--labels", labelled / "tags.csv", "--tags", "left,coin")),
        ("celeba.npz", ("--labels", labelled / "celeba.txt")),
    ):
        assert measure(*options, "--out", out, "--quiet").output == ""
    assert measure("--out", "own.npz", data="whole.npz").exit_code == 0
    csv, celeba, own = (np.load(place / f"{name}.npz") for name in ("csv", "celeba", "own"))
    for key in ("names", "w1", "w2", "auc", "range", "counts"):
        np.testing.assert_array_equal(csv[key], celeba[key])
        np.testing.assert_array_equal(csv[key], own[key])


def test_rare_attributes_are_left_out_and_said(measure, labelled, place):
    table = (labelled / "tags.csv").read_text().splitlines()
    rows = [table[0], *(f"{row.rsplit(',', 2)[0]},{int(number < 3)},x" for number, row in enumerate(table[1:]))]
    (place / "rare.csv").write_text("\n".join(rows))
    result = measure("--labels", "rare.csv", "--tags", "left,coin")
    assert result.exit_code == 0, result.output
    assert "left out: coin: only " in result.output
    assert list(np.load(place / "directions.npz")["names"]) == ["left"]


def test_rows_without_pictures_are_said(measure, labelled, place):
    (place / "more.csv").write_text((labelled / "tags.csv").read_text() + "\nabsent.png,1,0,x\n")
    result = measure("--labels", "more.csv", "--tags", "left")
    assert "note: 1 of 121 rows" in result.output


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--tags", "nose"), "nose"),
        (("--labels", "absent.csv"), "absent.csv"),
        (("--class", "1"), "class-conditional"),
        (("--class", "1,2"), "one for all"),
        (("--out", "no/such/place.npz"), "no such folder"),
        (("--farthest", "nan"), "farthest"),
    ],
)
def test_bad_requests(measure, place, options, word):
    result = measure(*options, data="whole.npz")
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert word in result.output
    assert list(place.iterdir()) == []


def test_a_table_that_is_none_leaves_nothing(measure, place):
    (place / "bad.csv").write_text("file,left\n000.png,maybe\n")
    result = measure("--labels", "bad.csv")
    assert result.exit_code == 2
    assert [path.name for path in place.iterdir()] == ["bad.csv"]


def test_it_runs_without_torch(run_process, model, labelled, place):
    done = run_process(
        *("directions", model.bundle, "--data", labelled / "whole.npz", "--fewest", 4, "--range-images", 2),
        without=["torch", "glow_core.model"],
    )
    assert done.returncode == 0, done.stderr
    assert (place / "directions.npz").exists()


def test_the_files_of_one_model_carry_one_id(model, tmp_path):
    ids = {engine_model_id(path) for path in (model.encoder, model.decoder)}
    assert ids == {json.loads((model.bundle / "manifest.json").read_text())["model_id"]}
    plan = tmp_path / "encoder.trt"
    plan.write_bytes(b"ftrt" + bytes(100))
    assert engine_model_id(plan) is None
    with pytest.raises(EngineError, match="cannot be read"):
        engine_model_id(tmp_path / "absent.onnx")
    plan.write_bytes(bytes(100))
    with pytest.raises((BundleError, EngineError)):
        engine_model_id(plan)
