from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def folder(pictures):
    return pictures[0].parent / "in"


@pytest.fixture(autouse=True)
def gathered(pictures, folder):
    """The three pictures in a folder of their own."""
    folder.mkdir()
    for path in pictures:
        (folder / path.name).write_bytes(path.read_bytes())


def test_bulk_gives_what_the_commands_for_one_process_give(invoke, model, folder, place):
    """`encode` and `sample` bit for bit, and a shard is a latent file that `decode` takes."""
    words = ("--device", "cpu", "--seed", 3, "--draws", 2)
    assert invoke("encode", model.bundle, folder, *words, "-o", "one.npz").exit_code == 0
    result = invoke("bulk", "encode", model.bundle, folder, *words, "--format", "npz", "-o", "out", "--json", "j.json")
    assert result.exit_code == 0, result.output
    assert "3 rows in 1 shard" in result.stdout
    assert "wrote out/" in result.stdout
    with np.load("one.npz") as one, np.load("out/encode-000000.npz") as shard:
        assert set(one) < set(shard)
        for name in one:
            assert np.array_equal(one[name], shard[name]), name
    assert invoke("decode", model.bundle, "out/encode-000000.npz", "-o", "decoded").exit_code == 0
    told = json.loads((place / "j.json").read_text())
    assert (told["rows"], told["rows_made"], told["resumed_shards"], told["skipped"]) == (3, 3, 0, 0)
    assert invoke("sample", model.bundle, "-n", 5, "-t", "0.5,1", "-o", "five.npz").exit_code == 0
    words = ("-n", 5, "-t", "0.5,1", "--format", "npz", "-o", "drawn")
    assert invoke("bulk", "sample", model.bundle, *words).exit_code == 0
    with np.load("five.npz") as one, np.load("drawn/sample-000000.npz") as shard:
        assert np.array_equal(one["images"], shard["images"])


def test_what_is_left_out_is_counted_named_and_listed(invoke, model, folder, place):
    bad = folder / "picture-1.png"
    bad.write_bytes(b"none")
    refused = invoke("bulk", "score", model.bundle, folder, "-o", "out")
    assert refused.exit_code == 2
    assert "picture-1.png is not a picture" in refused.stderr
    assert "pass --skip-unreadable to leave such pictures out" in refused.stderr
    assert refused.stderr.count("\n") == 1
    result = invoke("bulk", "score", model.bundle, folder, "-o", "out", "--skip-unreadable")
    assert result.exit_code == 0, result.output
    assert "left out, because they cannot be read: 1, listed in out/skipped.txt" in result.stdout
    assert (place / "out" / "skipped.txt").read_text().startswith(f"{bad}\t")
    assert "2 rows in 1 shard" in result.stdout
    again = invoke("bulk", "score", model.bundle, folder, "-o", "out", "--skip-unreadable")
    assert "1 shard of an earlier run stayed as they were" in again.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "B", "-o", "out"], "there is nothing to encode: name folders of pictures, .parquet or .tar files"),
        (["sample", "B", "-o", "out"], "say how many samples to draw: --count"),
        (["edit", "B", "IN", "-o", "out"], "say what to add with --attribute"),
        (["encode", "B", "IN", "-o", "out", "--class", "1"], "not class-conditional: leave --class out"),
        (["sample", "B", "-n", "2", "-o", "out", "--class", "all"], "not class-conditional: leave --class out"),
        (["sample", "B", "-n", "2", "-o", "out", "--resize"], "--resize does nothing in sample"),
        (["encode", "B", "IN", "-o", "out", "--workers", "2"], "--workers is for --engine ray"),
        (["encode", "B", "IN", "-o", "IN"], "in lies in the input"),
        (["encode", "nowhere", "IN", "-o", "out"], "nowhere"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(invoke, model, folder, place, words, message):
    names = {"B": model.bundle, "IN": folder}
    result = invoke("bulk", *(names.get(word, word) for word in words))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(place.iterdir()) == []
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("name", ["encode", "score", "sample", "edit"])
def test_the_commands_for_one_process_tell_of_bulk(invoke, name):
    assert f"glow-deploy bulk {name}" in " ".join(invoke(name, "--help").output.split())
