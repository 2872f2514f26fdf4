"""Damaged graphs: whatever bits are flipped, a graph opens or is refused with an error of ours."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.engines import onnxruntime as engine_module
from glow_deploy.engines import open_engine
from glow_deploy.errors import BundleError, EngineError, GlowDeployError
from glow_deploy.inspect import inspect_file


@pytest.fixture(scope="module")
def graph(tiny) -> bytes:
    return tiny.encoder().SerializeToString()


def _flipped(data: bytes, seed: int) -> bytes:
    """1 to 3 flipped bits."""
    rng = np.random.default_rng(seed)
    array = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(0, len(array), rng.integers(1, 4)):
        array[place] ^= 1 << rng.integers(0, 8)
    return array.tobytes()


def test_flipped_bits_are_refused_or_harmless(graph, tmp_path, monkeypatch):
    # The first wall alone has to hold: with the second, each would take a second more.
    monkeypatch.setattr(engine_module, "try_graph", lambda *_, **__: None)
    outcomes = {"opened": 0, "refused": 0}
    for seed in range(300):
        path = tmp_path / "graph.onnx"
        path.write_bytes(_flipped(graph, seed))
        try:
            open_engine(path, device="cpu", threads=1).close()
            outcomes["opened"] += 1
        except (BundleError, EngineError):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_flipped_bits_are_described_or_refused(graph, tmp_path):
    outcomes = {"described": 0, "refused": 0}
    for seed in range(300):
        path = tmp_path / "graph.onnx"
        path.write_bytes(_flipped(graph, seed))
        try:
            inspect_file(path)
            outcomes["described"] += 1
        except GlowDeployError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_flipped_bits_reach_what_protobuf_lets_through(graph):
    """The trap is real: among the graphs above are some whose text protobuf gives as bytes."""

    def parsed(data: bytes) -> onnx.ModelProto | None:
        try:
            return onnx.load_from_string(data)
        except Exception:
            return None

    models = [model for model in (parsed(_flipped(graph, seed)) for seed in range(300)) if model is not None]
    assert any(isinstance(entry.key, bytes) for model in models for entry in model.metadata_props)


@pytest.mark.parametrize("field", ["key", "value", "node", "operator", "input", "output", "weight", "batch"])
def test_text_that_is_not_utf_8_is_refused(tiny, field, tmp_path):
    model = tiny.encoder()
    mark = "REPLACED"
    match field:
        case "key" | "value":
            setattr(model.metadata_props[0], field, mark)
        case "node":
            model.graph.node[0].name = mark
        case "operator":
            model.graph.node[0].op_type = mark
        case "input":
            model.graph.input[0].name = mark
        case "output":
            model.graph.node[0].output[0] = mark
        case "weight":
            model.graph.initializer[0].name = mark
        case "batch":
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = mark
    data = model.SerializeToString().replace(mark.encode(), b"REPL\xff\xffED")
    with pytest.raises(BundleError, match="UTF-8"):
        read_graph(data, source="g.onnx")
    (tmp_path / "g.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="UTF-8"):
        inspect_file(tmp_path / "g.onnx")


def test_an_unknown_weight_type_is_named_by_its_number(tiny, tmp_path):
    model = tiny.encoder()
    model.graph.initializer[0].data_type = 77
    with pytest.raises(BundleError, match="type 77"):
        read_graph(model.SerializeToString(), source="g.onnx")
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    assert "type 77" in str(inspect_file(tmp_path / "g.onnx").facts["parameter_types"])
