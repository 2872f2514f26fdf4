from __future__ import annotations

import numpy as np
import onnx
import pytest

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.canary import detect, make_canary
from glow_deploy.canary.graph import INPUT, OUTPUT, canary_graph
from glow_deploy.engines import open_engine


def test_the_graph_is_one_small_file_of_two_convolutions(graph):
    assert graph == canary_graph(make_canary())
    assert len(graph) < 2**19
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Conv", "Concat"]
    assert model.opset_import[0].version == 20
    described = read_graph(graph, source="canary.onnx")
    assert (described.facts.role, described.facts.precision) == ("decoder", "fp32")
    assert [spec.shape for spec in (*described.inputs, *described.outputs)] == [(128, 16, 16)] * 2


def test_the_graph_opens_like_any_engine_file(graph, tmp_path):
    (tmp_path / "canary.onnx").write_bytes(graph)
    with open_engine(tmp_path / "canary.onnx", device="cpu") as engine:
        assert detect(lambda x: engine.run({INPUT: x})[OUTPUT]).float32


def _veltkamp(graph: bytes, bits: int, kinds: tuple[str, ...]) -> bytes:
    """The canary with operands of some convolutions rounded to `24 - bits` significant bits: p = (2^bits + 1) a, then
    p - (p - a) (Dekker 1971), activations in the graph and weights ahead of time."""
    model = onnx.load_from_string(graph)
    factor = np.float32(2**bits + 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(factor, "factor"))
    nodes = [
        onnx.helper.make_node("Mul", [INPUT, "factor"], ["p"]),
        onnx.helper.make_node("Sub", ["p", INPUT], ["low"]),
        onnx.helper.make_node("Sub", ["p", "low"], ["rounded"]),
    ]
    for node in model.graph.node:
        if any(kind in node.name for kind in kinds):
            node.input[0] = "rounded"
    for tensor in model.graph.initializer:
        if any(f"conv{kind}/weight" in tensor.name for kind in kinds):
            weight = onnx.numpy_helper.to_array(tensor)
            product = weight * factor
            tensor.CopyFrom(onnx.numpy_helper.from_array(product - (product - weight), tensor.name))
    original = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *original])
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("bits", "kinds", "detected"),
    [(13, ("1x1", "3x3"), "tf32"), (13, ("3x3",), "tf32"), (13, ("1x1",), "tf32"), (16, ("1x1", "3x3"), "bf16")],
)
def test_a_graph_that_rounds_its_operands_is_found_out_in_onnxruntime(graph, bits, kinds, detected):
    from glow_deploy.engines.onnxruntime import open_onnx

    with open_onnx(_veltkamp(graph, bits, kinds), device="cpu") as engine:
        result = detect(lambda x: engine.run({INPUT: x})[OUTPUT])
    assert result.detected == detected
    for kind, found in result.convolutions.items():
        assert found.detected == (detected if kind in kinds else "fp32")
        assert found.margin > 300
