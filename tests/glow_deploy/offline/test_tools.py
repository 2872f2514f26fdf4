"""The files of Polygraphy and trtexec, sound and damaged."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from tool_files import npy_objects, polygraphy, trtexec  # lies beside

from glow_deploy.errors import DataError
from glow_deploy.offline.tools import parse_json, polygraphy_feeds, raw_name

FILE = Path("encoder.json")


ARRAYS = {"z1": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1) / 7, "log_prob": np.array([-1.5, 2], np.float32)}


@pytest.mark.parametrize("wrapped", [True, False])
def test_polygraphy_gives_every_bit_back_over_all_iterations(wrapped):
    rows = [{name: array[:1] for name, array in ARRAYS.items()}, {name: array[1:] for name, array in ARRAYS.items()}]
    found = parse_json(polygraphy(*rows, wrapped=wrapped), path=FILE)
    assert found.tool == "Polygraphy"
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.tensors[name], array)
        assert found.tensors[name].dtype == array.dtype


@pytest.mark.parametrize("dims", ["1x", "()"])
def test_trtexec_gives_six_digits(dims):
    found = parse_json(trtexec(ARRAYS, dims=dims), path=FILE)
    assert found.tool == "trtexec"
    for name, array in ARRAYS.items():
        np.testing.assert_allclose(found.tensors[name], array, rtol=5e-6)
        assert found.tensors[name].dtype == np.float32


def test_what_is_fed_is_what_is_read():
    feeds = json.loads(polygraphy_feeds({"x": ARRAYS["z1"]}, batch=1))
    again = [np.load(io.BytesIO(base64.b64decode(feed["x"]["array"]))) for feed in feeds]
    np.testing.assert_array_equal(np.concatenate(again), ARRAYS["z1"])
    assert {feed["x"]["polygraphy_class"] for feed in feeds} == {"ndarray"}


def damaged():
    whole = json.loads(polygraphy(ARRAYS))
    array = whole["lst"][0][1][0]["outputs"]["z1"]["values"]
    raw = base64.b64decode(array["array"])
    for name, text in (
        ("cut", base64.b64encode(raw[:-4]).decode()),
        ("no base64", "!" + array["array"][1:]),
        ("no npy", base64.b64encode(b"x" * 200).decode()),
        ("objects", npy_objects()),
    ):
        array["array"] = text
        yield pytest.param(json.dumps(whole).encode(), id=name)
    yield pytest.param(polygraphy(ARRAYS, runners=2), id="two runners")
    yield pytest.param(polygraphy(), id="no iterations")
    yield pytest.param(polygraphy(ARRAYS, {"z1": ARRAYS["z1"]}), id="lost in one iteration")
    yield pytest.param(b"[" * 100_000, id="deep")
    yield pytest.param(b"{", id="no JSON")
    yield pytest.param(b"3", id="a number")
    yield pytest.param(b'{"lst": 3}', id="no list")
    yield pytest.param(b'[{"name": "z1"}]', id="no values")
    yield pytest.param(b'[{"name": "z1", "dimensions": "2x3", "values": [1, 2]}]', id="too few values")
    yield pytest.param(b'[{"name": "z1", "dimensions": "2", "values": [1, "2"]}]', id="a text among numbers")
    yield pytest.param(b'[{"name": "z1", "dimensions": "2", "values": [1, true]}]', id="a truth among numbers")
    yield pytest.param(trtexec(ARRAYS).replace(b"log_prob", b"z1"), id="twice")


@pytest.mark.parametrize("data", list(damaged()))
def test_what_is_damaged_is_refused_in_one_line(data):
    with pytest.raises(DataError, match=r"^encoder\.json is n") as error:
        parse_json(data, path=FILE)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_names_of_raw_files_tell_name_shape_and_type():
    assert raw_name(Path("z1.output.2.3.4.fp32.raw")) == ("z1", (2, 3, 4), np.dtype("<f4"), "fp32")
    assert raw_name(Path("log_prob.output.2.fp16.raw")) == ("log_prob", (2,), np.dtype("<f2"), "fp16")
    assert raw_name(Path("x.input.2.3.fp32.raw")) is None
    assert raw_name(Path("z1.raw")) is None
    assert raw_name(Path("z1.output.2.bf16.raw")) == ("z1", (2,), None, "bf16")


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf"])
def test_what_overflowed_is_told_as_that(value):
    text = f'[{{"name": "z1", "dimensions": "3", "values": [1, {value}, 2]}}]'.encode()
    with pytest.raises(DataError, match=r"encoder\.json holds nan or inf: the program overflows there"):
        parse_json(text, path=FILE)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e39"])
def test_what_json_can_tell_of_it_is_left_to_whoever_looks_at_the_values(value):
    text = f'[{{"name": "z1", "dimensions": "3", "values": [1, {value}, 2]}}]'.encode()
    assert np.isfinite(parse_json(text, path=FILE).tensors["z1"]).tolist() == [True, False, True]
