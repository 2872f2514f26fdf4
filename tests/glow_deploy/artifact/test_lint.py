import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.artifact.lint import lint_model, parse_model, read_model
from glow_deploy.errors import BundleError


def _model():
    weight = numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["z"], name="conv")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 2, 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2, 2, 2])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _huge(model):
    model.graph.initializer[0].dims[0] = 2**40


def _double(model):
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((2, 1, 1, 1)), "w"))


def _cast_to_double(model):
    model.graph.node.append(helper.make_node("Cast", ["z"], ["wide"], name="cast", to=TensorProto.DOUBLE))


def _cast_to_integer(model):
    model.graph.node.append(helper.make_node("Cast", ["z"], ["whole"], name="cast", to=TensorProto.INT8))


CHANGES = {
    "cast to integer": (_cast_to_integer, "casts to INT8"),
    "cast to double": (_cast_to_double, "casts to float64"),
    "external": (_external, "another file"),
    "shape": (_huge, "shape asks"),
    "double weight": (_double, "DOUBLE"),
    "double input": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11), "float64"),
    "random": (lambda m: setattr(m.graph.node[0], "op_type", "RandomNormalLike"), "RandomNormalLike"),
    "loop": (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "Loop"),
    "domain": (lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"), "not part of a Glow"),
    "opset domain": (lambda m: m.opset_import.append(helper.make_opsetid("evil", 1)), "evil"),
    "function": (lambda m: m.functions.add(name="f"), "functions"),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "sparse"),
}


def test_a_plain_graph_passes():
    lint_model(_model(), source="good.onnx")


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_glow_does_not_need_is_refused(name):
    change, words = CHANGES[name]
    model = _model()
    change(model)
    with pytest.raises(BundleError, match=words) as raised:
        lint_model(model, source="bad.onnx")
    assert str(raised.value).startswith("bad.onnx")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x07", bytes(100), np.random.default_rng(0).bytes(999)])
def test_other_bytes_are_refused(data):
    with pytest.raises(BundleError, match="noise"):
        parse_model(data, source="noise")


def test_truncated_files_are_refused(tmp_path):
    data = _model().SerializeToString()
    for keep in range(0, len(data), 7):
        (tmp_path / "cut.onnx").write_bytes(data[:keep])
        with pytest.raises(BundleError):
            read_model(tmp_path / "cut.onnx")
    (tmp_path / "cut.onnx").write_bytes(data)
    assert isinstance(read_model(tmp_path / "cut.onnx"), onnx.ModelProto)
