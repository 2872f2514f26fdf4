"""What an error says to do is done, and works."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest

from glow_deploy.images import write_png


def remedy(result):
    """The command that a refusal shows, as words; the refusal itself must be one line and exit 2."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    return shlex.split(re.search(r"`glow-deploy ([^`]*)`", result.stderr)[1])


def options(result):
    """The options that a refusal names."""
    assert result.exit_code == 2, result.output
    return set(re.findall(r"--[a-z-]+", result.stderr))


def test_compiling_twice_takes_force_and_suggests_nothing_else(own_model, invoke):
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    assert invoke("compile", own_model.bundle).exit_code == 0
    assert options(invoke("compile", own_model.bundle)) == {"--force"}
    assert invoke("compile", own_model.bundle, "--force").exit_code == 0


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_bench_asks_for_plans_of_the_flavor_it_would_run(own_model, invoke, backend):
    words = remedy(invoke("bench", own_model.bundle, "--backend", backend))
    flavor = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}[backend]
    assert words == ["compile", str(own_model.bundle), "--flavor", flavor]
    if flavor == "rtx":
        pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
        assert invoke(*words).exit_code == 0
        assert (own_model.bundle / "encoder.rtx.trt").is_file()


@pytest.mark.parametrize("command", ["interpolate", "verify"])
def test_plans_that_are_missing_come_by_the_command_shown(own_model, invoke, pictures, place, command):
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    asked = {
        "interpolate": ["interpolate", own_model.bundle, *pictures[:2], "--flavor", "rtx"],
        "verify": ["verify", own_model.bundle, "--backend", "tensorrt-rtx"],
    }[command]
    assert invoke(*remedy(invoke(*asked))).exit_code == 0
    assert "compile" not in invoke(*asked).output  # now it is the GPU that is missing, or nothing


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
