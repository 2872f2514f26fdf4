"""What cannot be read is left out where that is asked for, counted, and listed beside the output."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from glow_cli.common.left_out import left_out_file, left_out_lines, write_left_out

from glow_deploy.data import LeftOut
from glow_deploy.images import write_png

BAD = [LeftOut(name=f"{number}.png", reason=f"{number}.png\nis damaged") for number in range(20)]


def test_the_list_lies_beside_the_output():
    assert left_out_file(Path("a/scores.csv")) == Path("a/scores.skipped.txt")
    assert left_out_file(Path("a/edited"), folder=True) == Path("a/edited/skipped.txt")


def test_all_are_listed_and_the_first_are_named(tmp_path):
    path = tmp_path / "x.skipped.txt"
    write_left_out(path, BAD)
    lines = path.read_text().splitlines()
    assert (len(lines), lines[3]) == (20, "3.png\t3.png is damaged")
    said = list(left_out_lines(BAD, path))
    assert said[0] == f"left out, because they cannot be read: 20, listed in {path}"
    assert (len(said), said[-1]) == (18, "  ... and 4 more")
    write_left_out(path, [])
    assert not path.exists()
    assert list(left_out_lines([])) == []


@pytest.fixture
def folder(place):
    """Ten pictures of the model's size, one damaged in its header and one behind it."""
    (place / "set").mkdir()
    values = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    for number, value in enumerate(values):
        write_png(place / "set" / f"{number}.png", value)
    (place / "set" / "2.png").write_bytes(b"no picture")
    whole = (place / "set" / "5.png").read_bytes()
    (place / "set" / "5.png").write_bytes(whole[:100])
    (place / "set" / "notes.txt").write_text("")
    return "set"


COMMANDS = {
    "encode": (("encode", "B", "set", "--out", "z.npz", "--draws", 1), "z.skipped.txt"),
    "score pictures": (("score", "B", "set", "--draws", 1), "scores.skipped.txt"),
    "score data": (("score", "B", "--data", "set", "--draws", 1), "scores.skipped.txt"),
    "score reference": (("score", "B", "P", "--reference", "set", "--draws", 1), "scores.skipped.txt"),
    "verify": (("verify", "B", "--data", "set", "--random-draws", 1, "--report", "r.html"), "r.skipped.txt"),
    "export": (("export", "C", "--data", "set", "--golden", 4, "--out", "made"), None),
}  # fmt: skip


def _words(words, model, pictures):
    names = {"B": model.bundle, "C": model.checkpoint, "P": pictures[0]}
    return [names.get(word, word) if isinstance(word, str) else word for word in words]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_at_once_or_leave_out(command, invoke, model, pictures, folder, place):
    words, listed = COMMANDS[command]
    words = _words(words, model, pictures)
    before = sorted(place.rglob("*"))
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert "2.png is not a picture" in refused.stderr
    assert "--skip-unreadable" in refused.stderr
    assert sorted(place.rglob("*")) == before
    done = invoke(*words, "--skip-unreadable")
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "because they cannot be read: 2" in text
    assert "1 .txt" in text
    if listed is not None:
        names = [line.split("\t")[0] for line in (place / listed).read_text().splitlines()]
        assert sorted(names) == ["set/2.png", "set/5.png"]


def test_edits_of_the_others_keep_their_classes_and_names(invoke, model, folder, place, tmp_path):
    from glow_deploy.artifact.identity import engine_model_id
    from glow_deploy.directions.directions import DirectionSettings, measure_directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.labelled import load_labelled
    from glow_deploy.engines.open import open_engine

    values = np.random.default_rng(1).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    flags = np.arange(80)[:, None] % 2 == 0
    np.savez(tmp_path / "a.npz", images=values, attributes=flags, attribute_names=np.array(["even"]))
    with open_engine(model.encoder) as encoder, open_engine(model.decoder) as decoder:
        found = measure_directions(
            encoder,
            decoder,
            load_labelled(tmp_path / "a.npz"),
            model_id=engine_model_id(model.encoder),
            settings=DirectionSettings(fewest=1, images=2),
        )
    save_directions(place / "d.npz", found)
    words = ("edit", model.bundle, "set", "--directions", "d.npz", "--attribute", "even=0.1", "--out", "edited")
    assert invoke(*words).exit_code == 2
    done = invoke(*words, "--skip-unreadable", "--batch", 2, "--json", "e.json")
    assert done.exit_code == 0, done.output
    wanted = [f"{number}.png" for number in range(10) if number not in (2, 5)]
    assert sorted(path.name for path in (place / "edited").glob("*.png")) == wanted
    document = json.loads((place / "e.json").read_text())
    assert [Path(image["name"]).name for image in document["images"]] == wanted
    assert len(document["skipped"]) == 2
    assert len((place / "edited" / "skipped.txt").read_text().splitlines()) == 2


def test_every_row_of_scores_names_its_file(invoke, model, folder, place):
    done = invoke("score", model.bundle, "--data", "set", "--draws", 1, "--skip-unreadable")
    assert done.exit_code == 0, done.output
    with (place / "scores.csv").open(newline="") as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    assert names == [f"set/{number}.png" for number in range(10) if number not in (2, 5)]


def test_nothing_is_left_when_nothing_can_be_read(invoke, model, folder, place):
    whole = (place / "set" / "5.png").read_bytes()
    for path in (place / "set").glob("*.png"):
        path.write_bytes(whole)
    done = invoke("encode", model.bundle, "set", "--skip-unreadable")
    assert (done.exit_code, "none of 10 pictures can be read" in done.stderr) == (2, True)
    assert not (place / "latents.npz").exists()
