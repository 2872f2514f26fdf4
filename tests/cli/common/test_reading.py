import numpy as np
import pytest
from glow_cli.common.reading import reading_of

from glow_deploy.data.reading import Reading


def test_options_become_one_object():
    assert reading_of(layout="nchw", float_range="unit", depth=12) == Reading(
        layout="nchw", float_range="unit", depth=12
    )


@pytest.fixture
def floats(place):
    values = np.random.default_rng(0).random((40, 3, 8, 8), dtype=np.float32)
    np.save(place / "floats.npy", values)
    return place / "floats.npy"


@pytest.mark.parametrize("words", [("score", "B", "--draws", 1), ("verify", "B", "--random-draws", 1, "--limit", 4)])
def test_a_refusal_names_the_option_that_helps(invoke, model, floats, words):
    words = [model.bundle if word == "B" else word for word in words]
    first = invoke(*words, "--data", floats)
    assert (first.exit_code, "pass --layout nchw" in first.stderr) == (2, True)
    second = invoke(*words, "--data", floats, "--layout", "nchw")
    assert (second.exit_code, "pass --float-range unit" in second.stderr) == (2, True)
    done = invoke(*words, "--data", floats, "--layout", "nchw", "--float-range", "unit")
    assert done.exit_code == 0, done.output


def test_a_run_remembers_them(invoke, floats, place):
    small = ("--levels", 1, "--steps", 1, "--width", 4, "--batch-size", 8, "--no-tensorboard", "--quiet")
    told = ("--layout", "nchw", "--float-range", "unit")
    assert invoke("train", "--data", floats, "--out", "run", "--max-steps", 1, *told, *small).exit_code == 0
    done = invoke("train", "--resume", "run", "--max-steps", 2)
    assert done.exit_code == 0, done.output
