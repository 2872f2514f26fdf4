"""Tensors there and back, and everything that a stranger may send instead."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.kserve.tensors import MOST_TENSORS, datatype_of, numpy_type, pack, unpack

TYPES = ["bool", *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64))]
TYPES += ["float16", "float32", "float64"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_comes_back_bit_for_bit(dtype, binary):
    values = np.random.default_rng(0).integers(0, 2, (3, 2, 5)).astype(dtype)
    if dtype.startswith("float"):
        values = values + np.random.default_rng(1).normal(size=values.shape).astype(dtype)
    body, length = pack({"x": values, "none": values[:0]}, side="inputs", binary=binary, id="7")
    assert (length is None) is not binary
    found = unpack(body, length, side="inputs")
    assert found.id == "7"
    assert found.tensors["none"].shape == (0, 2, 5)
    assert found.tensors["x"].dtype == values.dtype
    np.testing.assert_array_equal(found.tensors["x"], values)


def test_the_largest_numbers_come_back():
    for dtype in ("uint64", "int64", "int8"):
        ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
        body, length = pack({"x": ends}, side="outputs", binary=False)
        np.testing.assert_array_equal(unpack(body, length, side="outputs").tensors["x"], ends)


def test_non_finite_numbers_travel_as_bytes_alone():
    values = np.array([np.nan, np.inf], np.float32)
    body, length = pack({"x": values}, side="outputs")
    np.testing.assert_array_equal(unpack(body, length, side="outputs").tensors["x"], values)
    with pytest.raises(DataError, match="binary"):
        pack({"x": values}, side="outputs", binary=False)


def test_what_is_wanted_is_read():
    def asked(**others):
        return unpack(json.dumps({"inputs": [], **others}).encode(), None, side="inputs")

    assert not asked().as_bytes("x")
    assert asked(parameters={"binary_data_output": True}).as_bytes("x")
    outputs = [{"name": "x", "parameters": {"binary_data": False}}, {"name": "y"}]
    found = asked(parameters={"binary_data_output": True}, outputs=outputs)
    assert found.wanted == ("x", "y")
    assert (found.as_bytes("x"), found.as_bytes("y")) == (False, True)


def tensor(**changes):
    return {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0], **changes}


@pytest.mark.parametrize(
    "entry",
    [
        tensor(name=""), tensor(name=None), tensor(name="a\x1b"), tensor(name="x" * 300), "x", None, 3,
        tensor(datatype="BYTES"), tensor(datatype=None), tensor(datatype=["FP32"]),
        tensor(shape=None), tensor(shape=[-1]), tensor(shape=[2.0]), tensor(shape=[True, 2]), tensor(shape=[2**40]),
        tensor(shape=[3]), tensor(shape=[1] * 9), tensor(shape=[2**30] * 8),
        tensor(data=None), tensor(data="12"), tensor(data=[1]), tensor(data=[[1], [2, 3]]), tensor(data=["1", "2"]),
        tensor(data=[None, 1]), tensor(data=[{}, 1]), tensor(data=[True, False]), tensor(data=[10**400, 1]),
        tensor(datatype="INT64", data=[1.5, 2]), tensor(datatype="INT8", data=[1, 200]),
        tensor(datatype="UINT8", data=[-1, 2]), tensor(datatype="BOOL", data=[0, 1]),
        tensor(datatype="INT64", data=[2**63, 0]), tensor(parameters=[]), tensor(data=[True, 0.5]),
        tensor(data=[[1, 2], 3]), tensor(data=[[[[[[[[[[1, 2]]]]]]]]]]), tensor(datatype="UINT64", data=[2**64, 0]),
        tensor(shape=[0, 2**31 - 1, 2**31 - 1, 2**31 - 1], data=[]),
        tensor(shape=[0, 2**31 - 1, 2**31 - 1, 2**31 - 1], parameters={"binary_data_size": 0}),
        tensor(parameters={"binary_data_size": 8}), tensor(parameters={"binary_data_size": -8}),
        tensor(parameters={"binary_data_size": "8"}), tensor(parameters={"binary_data_size": True}),
    ],
    ids=lambda entry: str(entry)[:70],
)  # fmt: skip
def test_tensors_that_are_none_are_one_line(entry):
    with pytest.raises(DataError):
        unpack(json.dumps({"inputs": [entry]}).encode(), None, side="inputs")


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"", None), (b"null", None), (b"[]", None), (b"{", None), (b"{}", None), (b'{"inputs": {}}', None),
        (b"[" * 100_000, None), (b'{"inputs": []}', 5), (b'{"inputs": []}', 99), (b'{"inputs": []}', 0),
        (b'{"inputs": []}tail', 14), (b'{"inputs": [], "parameters": 3}', None),
        (json.dumps({"inputs": [tensor(), tensor()]}).encode(), None),
        (json.dumps({"inputs": [tensor(name=f"x{n}") for n in range(MOST_TENSORS + 1)]}).encode(), None),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_bodies_that_are_none_are_one_line(body, length):
    with pytest.raises(DataError):
        unpack(body, length, side="inputs")


@pytest.mark.parametrize("data", [["a" * 100_000] + [""] * 3000, [[0.5] * 100] * 100])
def test_data_that_is_none_takes_no_memory(data):
    body = json.dumps({"outputs": [tensor(shape=[1], data=data)]}).encode()
    tracemalloc.start()
    with pytest.raises(DataError):
        unpack(body, None, side="outputs")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30 * len(body)  # NumPy alone would make gigabytes of the first


def test_lists_in_lists_are_the_tensor_of_their_numbers():
    entry = tensor(shape=[2, 3], data=[[1, 2, 3], [4, 5.5, 6]])
    found = unpack(json.dumps({"inputs": [entry]}).encode(), None, side="inputs").tensors["x"]
    np.testing.assert_array_equal(found, np.array([[1, 2, 3], [4, 5.5, 6]], np.float32))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_what_is_null_was_left_out(side):
    content = {side: [tensor(parameters=None)], "parameters": None, "id": None}
    content = {"outputs": None, **content} if side == "inputs" else content
    found = unpack(json.dumps(content).encode(), None, side=side)
    assert (found.parameters, found.id, found.wanted) == ({}, "", ())


@pytest.mark.parametrize("given", ["x" * 1001, 7, ["7"]])
def test_an_id_comes_back_whole_or_is_refused(given):
    body = json.dumps({"inputs": [], "id": "x" * 1000}).encode()
    assert unpack(body, None, side="inputs").id == "x" * 1000
    with pytest.raises(DataError, match="id must be"):
        unpack(json.dumps({"inputs": [], "id": given}).encode(), None, side="inputs")


def test_a_size_that_was_never_sent_takes_no_memory():
    entry = tensor(shape=[2**20, 2**19], parameters={"binary_data_size": 2**41})
    with pytest.raises(DataError, match="binary_data_size"):
        unpack(json.dumps({"inputs": [entry]}).encode(), None, side="inputs")


def test_names_of_types():
    assert [datatype_of(numpy_type(datatype_of(dtype))) for dtype in TYPES] == [datatype_of(dtype) for dtype in TYPES]
