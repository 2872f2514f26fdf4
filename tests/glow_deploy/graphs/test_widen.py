from __future__ import annotations

import numpy as np
import onnx
import pytest
from model_graphs import session_of
from narrow_graphs import narrow_graph
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.errors import BundleError
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.widen import held_numbers, set_precision, widened

STEPS = ["level1/step01", "level1/step02"]


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["mixed", "bf16-mixed", "fp16"])
def test_values_stay_and_casts_go(name, role, one_level):
    narrow = narrow_graph(one_level, role, PrecisionPlan.uniform(name, one_level)).to_model()
    before = narrow.SerializeToString(deterministic=True)
    wide = widened(narrow)
    onnx.checker.check_model(wide, full_check=True)
    assert narrow.SerializeToString(deterministic=True) == before
    assert any(node.op_type == "Cast" for node in narrow.graph.node)
    assert not any(node.op_type == "Cast" for node in wide.graph.node)
    assert {tensor.data_type for tensor in wide.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}
    for old, new in zip(narrow.graph.initializer, wide.graph.initializer, strict=True):
        assert old.name == new.name
        assert np.array_equal(numpy_helper.to_array(old).astype(np.float64), numpy_helper.to_array(new))
    assert [value.name for value in wide.graph.output] == [value.name for value in narrow.graph.output]
    feeds = {
        value.name: np.full([2, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])], 0.25, np.float32)
        for value in wide.graph.input
    }
    assert all(np.isfinite(array).all() for array in session_of(wide).run(None, feeds))


def test_a_float32_graph_is_its_own_wide_form(one_level):
    model = narrow_graph(one_level, "encoder", PrecisionPlan.uniform("fp32", one_level)).to_model()
    assert widened(model) == model


@pytest.mark.parametrize(
    ("name", "trunk", "conditioners"),
    [
        ("fp32", "fp32", ["fp32", "fp32"]),
        ("mixed", "fp32", ["fp16", "fp16"]),
        ("bf16-mixed", "fp32", ["bf16", "bf16"]),
        ("fp16", "fp16", ["fp16", "fp16"]),
        ("auto", "fp32", ["fp32", "fp16"]),
    ],
)
def test_numbers_are_read_from_the_types_of_the_weights(name, trunk, conditioners, one_level):
    plan = PrecisionPlan.auto(one_level, narrow=STEPS[1:]) if name == "auto" else PrecisionPlan.uniform(name, one_level)
    model = narrow_graph(one_level, "decoder", plan).to_model()
    found = held_numbers(model)
    assert found == (trunk, dict(zip(STEPS, conditioners, strict=True)))
    assert list(found[1]) == STEPS  # in encoding order, in a decoder too


def test_other_graphs_are_refused(one_level):
    with pytest.raises(BundleError, match=r"^g.onnx: holds no steps of flow"):
        held_numbers(helper.make_model(helper.make_graph([], "g", [], [])), source="g.onnx")
    model = narrow_graph(one_level, "encoder", PrecisionPlan.uniform("fp32", one_level)).to_model()
    for tensor in model.graph.initializer:
        if tensor.name == "level1/step01/coupling/conv1/weight":
            tensor.data_type = TensorProto.DOUBLE
    with pytest.raises(BundleError, match="neither float32 nor float16 nor bfloat16"):
        held_numbers(model)


def test_the_precision_it_claims_is_changed_in_place_and_nothing_else(one_level):
    model = narrow_graph(one_level, "encoder", PrecisionPlan.uniform("mixed", one_level)).to_model()
    before = {entry.key: entry.value for entry in model.metadata_props}
    set_precision(model, "fp32")
    after = {entry.key: entry.value for entry in model.metadata_props}
    assert after == {**before, "glow_deploy.precision": "fp32"}
    assert before["glow_deploy.precision"] == "mixed"
