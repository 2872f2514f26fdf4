"""What an error says to do is done, and works."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from glow_deploy.images import write_png


def options(result):
    """The options that a refusal names."""
    assert result.exit_code == 2, result.output
    return set(re.findall(r"--[a-z-]+", result.stderr))


def test_an_existing_bundle_is_replaced_or_left(own_model, invoke, place):
    refused = invoke("export", own_model.checkpoint, "--out", own_model.bundle, "--golden", 4)
    assert options(refused) == {"--force", "--out"}
    assert invoke("export", own_model.checkpoint, "--out", own_model.bundle, "--golden", 4, "--force").exit_code == 0
    assert invoke("export", own_model.checkpoint, "--out", "other", "--golden", 4).exit_code == 0


def test_pictures_of_another_size_are_fitted(model, invoke, place):
    write_png(place / "large.png", np.zeros((3, 12, 10), np.uint8))
    asked = ("encode", "--engine", model.encoder, "large.png")
    assert options(invoke(*asked)) == {"--resize"}
    assert invoke(*asked, "--resize").exit_code == 0


def test_a_backend_that_needs_the_checkpoint_gets_it(model, invoke):
    asked = ("verify", model.bundle, "--backend", "pytorch-fp64")
    assert options(invoke(*asked)) == {"--ckpt"}
    assert invoke(*asked, "--ckpt", model.checkpoint, "--random-draws", 2).exit_code == 0


def test_a_bundle_without_golden_vectors_is_verified_on_other_images(own_model, invoke, place):
    assert invoke("export", own_model.checkpoint, "--out", "bare", "--golden", "none").exit_code == 0
    assert options(invoke("verify", "bare")) >= {"--data"}
    asked = ("verify", "bare", "--data", "faces", "--resize", "--limit", 4, "--random-draws", 2)
    refused = invoke(*asked)
    assert "--ckpt" in options(refused)
    assert invoke(*asked, "--ckpt", own_model.checkpoint).exit_code == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["export", "CKPT", "--tolerance", "1"], "--precision auto"),
        (["export", "CKPT", "--golden", "none", "--data", "faces"], "--golden none"),
        (["compile", "BUNDLE", "--opt-level", "3"], "--flavor tensorrt"),
        (["compile", "BUNDLE", "--flavor", "tensorrt", "--gpu", "sm86"], "--flavor rtx"),
        (["bench", "ENCODER", "--backend", "tensorrt"], "--backend and --ckpt"),
    ],
)
def test_options_are_spelt_as_they_are_typed(model, invoke, place, words, named):
    paths = {"CKPT": model.checkpoint, "BUNDLE": model.bundle, "ENCODER": model.encoder}
    result = invoke(*(paths.get(word, word) for word in words))
    assert result.exit_code == 2
    assert named in result.stderr
    assert not re.search(r"[a-z_]+=", result.stderr.replace(str(place), "")), json.dumps(result.stderr)
