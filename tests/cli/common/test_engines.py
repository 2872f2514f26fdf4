"""Where a command finds the engine it needs: in a bundle, or in the file named."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.images import read_picture


def values(path, size=8):
    return read_picture(path, size=(size, size), channels=3)


@pytest.mark.parametrize("way", ["bundle first", "bundle as engine", "file as engine", "file first"])
def test_one_engine_is_found_in_every_way(model, invoke, pictures, way):
    """The same samples, latents and pictures whichever way the engine is named."""
    made = {}
    for role, file in (("encoder", model.encoder), ("decoder", model.decoder)):
        made[role] = {
            "bundle first": [model.bundle],
            "bundle as engine": ["--engine", model.bundle],
            "file as engine": ["--engine", file],
            "file first": [file],
        }[way]
    assert invoke("encode", *made["encoder"], *pictures, "-o", "z.npz").exit_code == 0
    reference = invoke("encode", "--engine", model.encoder, *pictures, "--out", "other.npz")
    assert reference.exit_code == 0
    with np.load("z.npz") as found, np.load("other.npz") as wanted:
        assert all(np.array_equal(found[name], wanted[name]) for name in ("z1", "z2", "log_prob"))
    assert invoke("decode", *made["decoder"], "z.npz", "-o", "decoded").exit_code == 0
    assert len(list(found_pictures("decoded"))) == 3
    assert invoke("sample", *made["decoder"], "-n", 3, "-o", "samples.npz").exit_code == 0
    assert invoke("sample", "--engine", model.decoder, "-n", 3, "-o", "wanted.npz").exit_code == 0
    with np.load("samples.npz") as found, np.load("wanted.npz") as wanted:
        assert np.array_equal(found["images"], wanted["images"])


def found_pictures(folder):
    from pathlib import Path

    return Path(folder).glob("*.png")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(place):
    return place


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample"], "name a BUNDLE folder, or an engine with --engine FILE"),
        (["sample", "B", "--engine", "D"], "give either a BUNDLE or --engine"),
        (["sample", "P"], "is no bundle; name a BUNDLE folder first"),
        (["sample", "nowhere"], "does not exist"),
        (["sample", "D", "--flavor", "rtx"], "--flavor chooses among the engines of a bundle"),
        (["sample", "E"], "needs a decoder"),
        (["encode", "P", "P"], "is no bundle; name a BUNDLE folder first"),
        (["encode", "B"], "there is nothing to encode"),
        (["encode", "--engine", "E"], "give [BUNDLE] IMAGE..."),
        (["decode", "B"], "name one file of latents after the BUNDLE or --engine, not 0"),
        (["decode", "--engine", "D", "a.npz", "b.npz"], "name one file of latents after the BUNDLE or --engine, not 2"),
        (["score", "D", "P", "--flavor", "rtx"], "--flavor chooses"),
    ],
)
def test_what_is_no_engine_is_told(model, invoke, pictures, words, said):
    names = {"B": model.bundle, "D": model.decoder, "E": model.encoder, "P": pictures[0]}
    result = invoke(*(names.get(word, word) for word in words))
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "B", "-n", "2"],
        ["encode", "B", "P"],
        ["score", "B", "P"],
        ["interpolate", "B", "P", "Q", "--steps", "3"],
        ["verify", "B", "--backend", "onnxruntime-cpu", "--random-draws", "2"],
    ],
)
def test_threads_reach_the_engine(model, invoke, pictures, monkeypatch, words):
    from glow_deploy.engines import onnxruntime as module

    seen = []
    real = module._session

    def watch(data, device, source, threads):
        seen.append(threads)
        return real(data, device, source, threads)

    monkeypatch.setattr(module, "_session", watch)
    names = {"B": model.bundle, "P": pictures[0], "Q": pictures[1]}
    result = invoke(*(names.get(word, word) for word in words), "--threads", 1)
    assert result.exit_code == 0, result.output
    assert set(seen) - ({None} if words[0] == "verify" else set()) == {1}  # the canary runs as it likes
    assert invoke(*(names.get(word, word) for word in words), "--threads", 0).exit_code == 2
