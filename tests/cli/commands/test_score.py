import csv
import json

import numpy as np
import pytest

from glow_deploy.images import write_png


def rows(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def noisy(tmp_path):
    """Forty pictures of the noise that the model was made on, in two splits."""
    values = np.random.default_rng(5).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    split = np.repeat([0, 1, 2], [8, 16, 16])
    path = tmp_path / "noisy.npz"
    np.savez(path, images=values, split=split, split_names=np.array(["train", "validation", "test"]))
    return path


@pytest.fixture
def flat(tmp_path):
    """Twelve pictures of one colour each: another kind, and a simpler one."""
    values = np.random.default_rng(6).integers(96, 160, (12, 1, 1, 3), dtype=np.uint8)
    path = tmp_path / "flat.npz"
    np.savez(path, images=np.broadcast_to(values, (12, 8, 8, 3)))
    return path


def test_pictures(invoke, model, place, pictures):
    result = invoke("score", model.encoder, *pictures, "--json", "found.json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in place.iterdir()) == ["found.json", "scores.csv"]
    assert [row["name"] for row in rows(place / "scores.csv")] == [str(path) for path in pictures]
    assert "no reference, so no typicality" in result.output
    found = json.loads((place / "found.json").read_text())
    assert [(part["name"], part["n"], part["nonfinite"]) for part in found["sets"]] == [("pictures", 3, 0)]
    assert (found["reference"], found["separations"], found["skipped"]) == (None, [], [])


def test_the_same_bits_per_dim_as_encode(invoke, model, place, pictures):
    assert invoke("score", model.encoder, *pictures).exit_code == 0
    assert invoke("encode", *pictures, "--engine", model.encoder).exit_code == 0
    with np.load(place / "latents.npz") as latents:
        for row, bits in zip(rows(place / "scores.csv"), latents["bits_per_dim"], strict=True):
            assert float(row["bits_per_dim"]) == pytest.approx(bits, rel=1e-6)


def test_simpler_pictures_of_another_kind_are_likelier_and_less_typical(invoke, model, place, noisy, flat):
    result = invoke(
        "score", model.bundle, "--data", noisy, "--data", f"foreign={flat}", "--reference", noisy, "--json", "f.json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads((place / "f.json").read_text())
    own, foreign = found["sets"]
    assert (own["name"], own["n"], foreign["name"], foreign["n"]) == ("noisy", 16, "foreign", 12)
    assert found["reference"]["n"] == 16
    assert foreign["bits_per_dim"]["mean"] < own["bits_per_dim"]["mean"], "likelier"
    assert foreign["bits_per_dim"]["typicality"] > own["bits_per_dim"]["typicality"], "but less typical"
    areas = found["separations"][0]
    assert areas["likelihood"]["value"] < 0.1
    assert areas["typicality"]["value"] > 0.9
    assert "foreign is likelier than noisy under this model" in result.output
    assert {row["set"] for row in rows(place / "scores.csv")} == {"noisy", "foreign"}


def test_a_set_of_the_same_kind_is_not_told_from_it(invoke, model, place, noisy):
    """The control of the test above."""
    result = invoke(
        "score", model.bundle, "--data", noisy, "--data", f"again={noisy}", "--reference", noisy, "--json", "f.json"
    )
    areas = json.loads((place / "f.json").read_text())["separations"][0]
    assert (areas["likelihood"]["value"], areas["typicality"]["value"]) == (0.5, 0.5)
    assert "is likelier than" not in result.output


def test_golden_images_are_the_reference_only_if_they_are_images(invoke, model, place, noisy, tmp_path):
    result = invoke("score", model.bundle, "--data", noisy)
    assert "no reference" in result.output, "this bundle's golden images are samples"
    bundle = tmp_path / "with-data"
    assert invoke("export", model.checkpoint, "--out", bundle, "--data", noisy, "--golden", 8).exit_code == 0
    result = invoke("score", bundle, "--data", noisy)
    assert "the 8 golden images of" in result.output
    assert "typicality" in rows(place / "scores.csv")[0]
    result = invoke("score", bundle, "--data", noisy, "--reference", "none")
    assert "no reference" in result.output


def test_sorted_rows_and_the_strangest_pictures(invoke, model, place, pictures, noisy):
    result = invoke("score", model.bundle, *pictures, "--reference", noisy, "--sort", "typicality")
    assert result.exit_code == 0, result.output
    found = rows(place / "scores.csv")
    distances = [float(row["typicality"]) for row in found]
    assert distances == sorted(distances, reverse=True)
    listed = result.output[result.output.index("least typical") :].splitlines()[1:4]
    assert [line.strip().rpartition(": ")[0] for line in listed] == [row["name"] for row in found]


def test_folders_in_bounded_batches(invoke, model, place, tmp_path, monkeypatch):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    folder = tmp_path / "many" / "below"
    folder.mkdir(parents=True)
    values = np.random.default_rng(1).integers(0, 256, (11, 3, 8, 8), dtype=np.uint8)
    for index, value in enumerate(values):
        write_png(folder / f"{index:02}.png", value)
    sizes = []
    whole = OnnxRuntimeEngine.run
    monkeypatch.setattr(
        OnnxRuntimeEngine, "run", lambda self, feeds: sizes.append(len(feeds["x"])) or whole(self, feeds)
    )
    assert invoke("score", model.encoder, tmp_path / "many", "--batch", 4, "--draws", 1).exit_code == 0
    assert max(sizes) == 4
    assert len(rows(place / "scores.csv")) == 11


def test_a_histogram(invoke, model, place, noisy, flat):
    pytest.importorskip("matplotlib")
    result = invoke("score", model.encoder, "--data", noisy, "--data", flat, "--histogram", "h.png")
    assert result.exit_code == 0, result.output
    assert (place / "h.png").read_bytes()[:4] == b"\x89PNG"
    assert "wrote scores.csv and h.png" in result.output


def test_pictures_that_the_encoder_overflows_on_are_counted_first(invoke, model, place, pictures, monkeypatch):
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    whole = OnnxRuntimeEngine.run

    def spoiled(self, feeds):
        outputs = {name: array.copy() for name, array in whole(self, feeds).items()}
        outputs["log_prob"][1] = np.nan
        return outputs

    monkeypatch.setattr(OnnxRuntimeEngine, "run", spoiled)
    result = invoke("score", model.encoder, *pictures, "--sort", "bits_per_dim", "--json", "f.json")
    assert result.exit_code == 0, result.output
    assert "not finite: 1 of 3 pictures" in result.output
    found = rows(place / "scores.csv")
    assert (found[0]["name"], found[0]["bits_per_dim"]) == (str(pictures[1]), "nan")
    assert json.loads((place / "f.json").read_text())["sets"][0]["nonfinite"] == 1


def test_an_unreadable_picture_stops_it_or_is_left_out(invoke, model, place, pictures):
    pictures[1].write_bytes(b"not a picture")
    result = invoke("score", model.encoder, *pictures)
    assert (result.exit_code, "picture-1.png" in result.stderr) == (2, True)
    assert list(place.iterdir()) == []
    result = invoke("score", model.encoder, *pictures, "--skip-unreadable", "--json", "f.json")
    assert result.exit_code == 0, result.output
    assert "left out, because they cannot be read: 1" in result.output
    assert len(rows(place / "scores.csv")) == 2
    assert "picture-1.png" in json.loads((place / "f.json").read_text())["skipped"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["E"], "nothing to score"),
        (["D", "P"], "scoring needs an encoder"),
        (["nowhere", "P"], "does not exist"),
        (["E", "nowhere.png"], "no such file"),
        (["E", "."], "holds no pictures"),
        (["E", "--data", "nowhere"], "no such file or folder"),
        (["E", "--data", "a=N", "--data", "a=N"], "two sets are called a"),
        (["E", "P", "--data", "pictures=N"], "two sets are called pictures"),
        (["E", "P", "--reference", "nowhere"], "no such file or folder"),
        (["E", "P", "--sort", "typicality"], "needs --reference"),
        (["E", "P", "--out", "scores.txt"], "name a .csv file"),
        (["E", "P", "--out", "no/scores.csv"], "no such folder"),
        (["E", "P", "--histogram", "h.jpg"], "name a .png or .svg"),
        (["E", "P", "--class", "1"], "not class-conditional"),
        (["E", "P", "--class", "best"], "not class-conditional"),
        (["E", "P", "--class", "1,2"], "give one for all"),
        (["E", "P", "--flavor", "rtx"], "is a file and tells its own kind"),
        (["B", "P", "--flavor", "rtx"], "compile"),
        (["P", "P"], "not an ONNX file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(invoke, model, place, pictures, noisy, arguments, words):
    names = {"B": model.bundle, "E": model.encoder, "D": model.decoder, "P": pictures[0]}
    given = [names.get(part, part) for part in arguments]
    result = invoke("score", *(f"{part[:-1]}{noisy}" if str(part).endswith("=N") else part for part in given))
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(place.iterdir()) == []


def test_quiet_and_json_on_stdout(invoke, model, place, pictures):
    assert invoke("score", model.encoder, *pictures, "--quiet").output == ""
    found = json.loads(invoke("score", model.encoder, *pictures, "--json", "-").stdout)
    assert found["draws"] == 8


def test_it_runs_without_torch_and_says_what_a_histogram_needs(run_process, model, place, pictures):
    done = run_process("score", model.encoder, *pictures, without=["torch", "matplotlib"])
    assert done.returncode == 0, done.stderr
    done = run_process("score", model.encoder, *pictures, "--histogram", "h.png", without=["torch", "matplotlib"])
    assert done.returncode == 2
    assert "glow-deploy[report]" in done.stderr


def test_maps_are_drawn_and_the_threshold_is_kept_and_used(invoke, model, place, noisy, flat):
    words = ("score", model.bundle, "--data", noisy, "--data", f"foreign={flat}", "--draws", 1)
    learn = ("--reference", noisy, "--rate", "0.2", "--map", "maps", "--save-threshold", "t.json")
    result = invoke(*words, *learn, "--json", "f.json")
    assert result.exit_code == 0, result.output
    found = json.loads((place / "f.json").read_text())["maps"]
    assert (found["patch"], found["rate"]) == (2, 0.2)
    assert [(part["name"], part["n"]) for part in found["sets"]] == [("noisy", 16), ("foreign", 12)]
    table = rows(place / "maps" / "surprise.csv")
    assert len(table) == 28
    assert all((place / "maps" / row["file"]).is_file() for row in table)
    strange = {name: sum(int(row["strange"]) for row in table if row["set"] == name) for name in ("noisy", "foreign")}
    assert strange == {part["name"]: part["strange"] for part in found["sets"]}
    for row in table:
        assert (float(row["surprise"]) > found["threshold"]) is bool(int(row["strange"]))
        assert bool(int(row["strange_pixels"])) is bool(int(row["strange"]))
    again = invoke(*words, "--map", "again", "--threshold", "t.json")
    assert again.exit_code == 0, again.output
    assert (place / "again" / "surprise.csv").read_text() == (place / "maps" / "surprise.csv").read_text()


def test_maps_that_cannot_be_drawn_are_refused_before_the_work(invoke, model, place, pictures):
    (place / "t.json").write_text("{}")
    (place / "file").write_text("")
    for words, said in (
        (("--rate", "0.1"), "give --map"),
        (("--map", "m"), "--map needs --reference"),
        (("--map", "m", "--threshold", "t.json"), "no threshold"),
        (("--map", "m", "--threshold", "t.json", "--patch", "2"), "--threshold brings"),
        (("--map", "m", "--class", "best"), "--map needs a class"),
        (("--map", "file"), "is a file"),
        (("--map", "m", "--save-threshold", "missing/t.json"), "no such folder"),
    ):
        result = invoke("score", model.encoder, *pictures, *words)
        assert result.exit_code == 2, words
        assert said in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (place / "m").exists()
