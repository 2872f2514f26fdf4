from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.artifact.graph_file import describe_graph, read_graph
from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec


def test_a_graph_says_what_it_is_and_what_it_takes(tiny):
    found = read_graph(tiny.encoder().SerializeToString(), source="e")
    assert (found.facts.role, found.facts.n_bits, found.facts.image_size) == ("encoder", 5, (4, 4))
    assert found.metadata["glow_deploy.levels"] == "1"
    assert found.inputs == (TensorSpec(name="x", dtype="float32", shape=(1, 4, 4)),)
    assert found.outputs == (
        TensorSpec(name="z1", dtype="float32", shape=(4, 2, 2)),
        TensorSpec(name="log_prob", dtype="float32", shape=()),
    )


def test_metadata_of_others_is_left_out(tiny):
    model = tiny.encoder()
    model.metadata_props.add(key="author", value="x")
    assert "author" not in describe_graph(model, source="e").metadata


def unnamed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def no_dimensions(model):
    del model.graph.output[1].type.tensor_type.shape.dim[:]


def open_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"


def unknown_type(model):
    model.graph.input[0].type.tensor_type.elem_type = 77


def other_shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unnamed_batch, "g: 'x' must have a named batch dimension and fixed others"),
        (no_dimensions, "g: 'log_prob' must have a named batch dimension"),
        (open_size, "g: 'x' must have a named batch dimension"),
        (unknown_type, "g: 'x' has an unknown element type 77"),
        (other_shape, "g: x is float32"),
    ],
)
def test_tensors_that_a_glow_has_not_are_named(tiny, change, message):
    model = tiny.encoder()
    change(model)
    with pytest.raises(BundleError, match=message):
        describe_graph(model, source="g")


def stored(model):
    return "prior/offset"


def negated(model):
    model.graph.node.append(helper.make_node("Neg", ["prior/offset"], ["computed"], name="neg"))
    return "computed"


def joined(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 4), np.float32), "more"))
    model.graph.node.append(helper.make_node("Concat", ["prior/offset", "more"], ["computed"], name="join", axis=0))
    return "computed"


@pytest.mark.parametrize(
    ("table", "rows", "found"),
    [
        *((stored, rows, rows) for rows in (2, 3, 4)),
        *((negated, rows, rows) for rows in (2, 3, 4)),
        (joined, 2, 3),
        (joined, 3, 4),
    ],
)
def test_a_table_of_classes_is_as_long_as_the_metadata_says(tiny, table, rows, found):
    """However the table comes about; with 3 rows it fits."""
    model = tiny.encoder(num_classes="3")
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.INT64, ["batch"]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((rows, 4), np.float32), "prior/offset"))
    name = table(model)
    model.graph.node.append(helper.make_node("Gather", [name, "y"], ["unused"], name="gather"))
    data = model.SerializeToString()
    if found == 3:
        assert read_graph(data, source="g").facts.num_classes == 3
    else:
        with pytest.raises(BundleError, match=f"g: {name} is for {found} classes, its metadata says 3"):
            read_graph(data, source="g")


def test_bytes_that_are_no_graph_are_refused():
    for data in (b"", b"no graph", b"\x00" * 100):
        with pytest.raises(BundleError, match=r"^g"):
            read_graph(data, source="g")
