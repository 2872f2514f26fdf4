"""A batch of any size: what the backend is given at once has an end, and nobody notices."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.artifact import graph_file
from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.artifact.limits import MOST_RUN_VALUES
from glow_deploy.engines.base import EngineBase
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.errors import EngineError
from glow_deploy.protocol import EngineDetails, TensorSpec

DETAILS = EngineDetails(backend="made up", provider="", device="cpu", precision="fp32", tf32=False, versions={})


class Doubling(EngineBase):
    """Gives twice its input and its labels, and remembers how many rows it was given."""

    def __init__(self, most_rows, *, lose=False):
        self.given = []
        self.lose = lose
        inputs = (TensorSpec(name="x", dtype="float32", shape=(3,)), TensorSpec(name="y", dtype="int64", shape=()))
        outputs = (TensorSpec(name="z1", dtype="float32", shape=(3,)), TensorSpec(name="n", dtype="float32", shape=()))
        super().__init__(
            role="encoder",
            n_bits=8,
            inputs=inputs,
            outputs=outputs,
            details=DETAILS,
            num_classes=9,
            most_rows=most_rows,
        )

    def _run(self, arrays, batch):
        self.given.append(batch)
        assert all(array.flags.c_contiguous and len(array) == batch for array in arrays.values())
        results = {"z1": 2 * arrays["x"], "n": arrays["y"].astype(np.float32)}
        return {name: array[:1] for name, array in results.items()} if self.lose else results

    def _close(self):
        pass


@pytest.mark.parametrize(
    ("most", "given"), [(None, [7]), (7, [7]), (100, [7]), (6, [4, 3]), (3, [3, 3, 1]), (1, [1] * 7)], ids=str
)
def test_rows_are_run_in_pieces_and_come_back_in_order(most, given):
    feeds = {"x": np.arange(21, dtype=np.float32).reshape(7, 3), "y": np.arange(7)}
    with Doubling(most) as engine:
        outputs = engine.run(feeds)
    assert engine.given == given
    np.testing.assert_array_equal(outputs["z1"], 2 * feeds["x"])
    np.testing.assert_array_equal(outputs["n"], feeds["y"])


def test_a_piece_that_comes_back_with_other_rows_is_no_result():
    with Doubling(3, lose=True) as engine, pytest.raises(EngineError, match="where \\[3, 3\\] is due"):
        engine.run({"x": np.ones((7, 3), np.float32), "y": np.zeros(7, np.int64)})


def fat_decoder(side, width):
    """A few hundred bytes of weights whose hidden activations fill the memory."""
    weights = {"a": np.full((width, 1, 1, 1), 1e-3, np.float32), "b": np.full((1, width, 1, 1), 1e-3, np.float32)}
    nodes = [
        helper.make_node("DepthToSpace", ["z1"], ["p"], blocksize=2, mode="CRD"),
        helper.make_node("Conv", ["p", "a"], ["hidden"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["hidden", "b"], ["x"], kernel_shape=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "fat",
        [helper.make_tensor_value_info("z1", TensorProto.FLOAT, ["batch", 4, side // 2, side // 2])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, side, side])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    facts = {
        "format_version": "1",
        "role": "decoder",
        "n_bits": "8",
        "image_size": f"{side}x{side}",
        "channels": "1",
        "levels": "1",
        "steps": "1",
        "coupling": "affine",
        "precision": "fp32",
        "num_classes": "",
        "model_id": "a" * 64,
    }
    helper.set_model_props(model, {f"glow_deploy.{key}": value for key, value in facts.items()})
    return model.SerializeToString()


def test_what_one_run_needs_at_once_does_not_grow_with_the_batch():
    graph = read_graph(fat_decoder(512, 256), source="fat.onnx")
    assert 256 * 512 * 512 < graph.live < 260 * 512 * 512
    assert graph.most_rows == 3
    assert graph.most_rows * graph.live <= MOST_RUN_VALUES < (graph.most_rows + 1) * graph.live


def test_a_model_of_small_pictures_is_not_cut(tiny):
    """The control: 512 wide and 32x32, 64 images are one piece."""
    assert read_graph(fat_decoder(32, 512), source="wide.onnx").most_rows >= 64
    assert read_graph(tiny.encoder().SerializeToString(), source="tiny.onnx").most_rows > 10**6


class Counting:
    def __init__(self, session):
        self.session, self.rows = session, []

    def run(self, names, arrays):
        self.rows.append(len(arrays["z1"]))
        return self.session.run(names, arrays)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_session_is_given_what_fits_whoever_vouches_for_the_graph(monkeypatch, trusted):
    data = fat_decoder(16, 8)
    latents = np.random.default_rng(0).standard_normal((10, 4, 8, 8), dtype=np.float32)
    with open_onnx(data, device="cpu", trusted=True) as engine:
        whole = engine.run({"z1": latents})["x"]
    live = read_graph(data, source="fat.onnx").live
    monkeypatch.setattr(graph_file, "MOST_RUN_VALUES", 4 * live)
    with open_onnx(data, device="cpu", trusted=trusted) as engine:
        engine._session = counting = Counting(engine._session)
        np.testing.assert_array_equal(engine.run({"z1": latents})["x"], whole)
    assert counting.rows == [4, 4, 2]
