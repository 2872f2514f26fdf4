from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.artifact.lint import lint_model, load_model, parse_model, read_model
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


def _node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=outputs[0], **attributes)


def _chain(model, nodes):
    """Put nodes before the convolution, which then still gives `z`; what they give need not be used."""
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)


def _weight(model, name, array):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def _doubling(model, count=60):
    names = ["x", *(f"d{i}" for i in range(count))]
    pairs = pairwise(names)
    _chain(model, [_node("Concat", [one, one], [two], axis=1) for one, two in pairs])


def _doubling_weights(model):
    names = ["w", *(f"d{i}" for i in range(26))]
    pairs = pairwise(names)
    _chain(model, [_node("Concat", [one, one], [two], axis=0) for one, two in pairs])


def _spread(model):
    """Two small weights that broadcast to 2^34 values."""
    _weight(model, "column", np.ones((1, 1, 2**17, 1), np.float32))
    _weight(model, "row", np.ones((1, 1, 1, 2**17), np.float32))
    _chain(model, [_node("Add", ["column", "row"], ["huge"])])


def _many_lookups(model):
    """Each spreads an edge over the image; one after another they would fill the memory."""
    _weight(model, "table", np.ones((1, 64, 2, 1), np.float32))
    _weight(model, "index", np.zeros(65536, np.int64))
    _chain(model, [_node("Gather", ["table", "index"], [f"edge{i}"], axis=2) for i in range(40)])


def _all_at_once(model):
    _weight(model, "wide", np.ones((512, 1, 1, 1), np.float32))
    for dim in (2, 3):
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[dim].dim_value = 512
    _chain(
        model,
        [
            *(_node("Conv", ["x", "wide"], [f"h{i}"]) for i in range(4)),
            _node("Add", ["h0", "h1"], ["s1"]),
            _node("Add", ["h2", "h3"], ["s2"]),
        ],
    )


def _long_work(model):
    _weight(model, "wide", np.ones((256, 1, 1, 1), np.float32))
    _weight(model, "square", np.ones((256, 256, 1, 1), np.float32))
    for dim in (2, 3):
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[dim].dim_value = 256
    names = ["s0", *(f"s{i}" for i in range(1, 2200))]
    _chain(
        model,
        [
            _node("Conv", ["x", "wide"], ["s0"]),
            *(_node("Conv", [a, "square"], [b]) for a, b in pairwise(names)),
        ],
    )


def _attribute(name, value):
    def change(model):
        node = model.graph.node[0]
        node.attribute.append(helper.make_attribute(name, value))

    return change


def _blocks(op, size):
    return lambda model: _chain(model, [_node(op, ["x"], ["b"], blocksize=size)])


def _before(*nodes):
    return lambda model: _chain(model, nodes)


def _subgraph(model):
    model.graph.node[0].attribute.append(helper.make_attribute("body", model.graph.__class__(name="inner")))


def _beside(name, fill):
    """An attribute of the right type that holds something else too."""

    def change(model):
        attribute = helper.make_attribute("group", 1)
        fill(attribute)
        model.graph.node[0].attribute.append(attribute)
        assert name in {entry.name for entry, _ in attribute.ListFields()}

    return change


def _outside(attribute):
    attribute.t.CopyFrom(numpy_helper.from_array(np.zeros(4), "hidden"))
    attribute.t.external_data.add(key="location", value="/etc/passwd")
    attribute.t.data_location = TensorProto.EXTERNAL


HIDDEN = {
    "t": _outside,
    "g": lambda attribute: attribute.g.node.add(op_type="Loop"),
    "graphs": lambda attribute: attribute.graphs.add(),
    "tensors": lambda attribute: attribute.tensors.add(raw_data=bytes(64)),
    "sparse_tensor": lambda attribute: attribute.sparse_tensor.SetInParent(),
    "sparse_tensors": lambda attribute: attribute.sparse_tensors.add(),
    "tp": lambda attribute: attribute.tp.SetInParent(),
    "type_protos": lambda attribute: attribute.type_protos.add(),
    "floats": lambda attribute: attribute.floats.append(1.0),
    "ints": lambda attribute: attribute.ints.append(1),
    "strings": lambda attribute: attribute.strings.append(b"a"),
    "s": lambda attribute: setattr(attribute, "s", b"a"),
    "f": lambda attribute: setattr(attribute, "f", 1.0),
    "ref_attr_name": lambda attribute: setattr(attribute, "ref_attr_name", "outer"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_an_attribute_holds_what_its_type_says_and_nothing_else(name):
    model = _model()
    _beside(name, HIDDEN[name])(model)
    with pytest.raises(BundleError, match=f"an attribute group that holds {name} beside its value"):
        parse_model(model.SerializeToString(), source="bad.onnx")


def test_every_field_of_an_attribute_is_tried():
    plain = {"name", "type", "doc_string", "i"}
    assert {field.name for field in onnx.AttributeProto.DESCRIPTOR.fields} == plain | set(HIDDEN)


def test_an_attribute_without_anything_beside_its_value_passes():
    """The control: the same attribute, with a text that describes it."""
    model = _model()
    _beside("doc_string", lambda attribute: setattr(attribute, "doc_string", "one group"))(model)
    parse_model(model.SerializeToString(), source="good.onnx")


def _large_in_a_node(model, data):
    model.graph.node[0].attribute.add(name="group", type=2, i=1).t.raw_data = data


def _large_in_a_graph_of_a_node(model, data):
    model.graph.node[0].attribute.add(name="group", type=2, i=1).g.initializer.add(raw_data=data)


@pytest.mark.parametrize("hide", [_large_in_a_node, _large_in_a_graph_of_a_node])
def test_bytes_inside_nodes_are_no_weights(hide):
    """They are refused before protobuf makes objects of them; of a foreign file they are only looked at."""
    model = _model()
    hide(model, bytes(17 << 20))
    data = model.SerializeToString()
    with pytest.raises(BundleError, match="MiB of names"):
        parse_model(data, source="bad.onnx")
    assert load_model(data, source="foreign.onnx", foreign=True).graph.node
    whole = _model()
    whole.graph.initializer[0].raw_data = bytes(17 << 20)  # the control: as a weight they are counted apart
    load_model(whole.SerializeToString(), source="good.onnx")


def _input_dim(place, size):
    return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[place], "dim_value", size)


def _cycle(model):
    _chain(model, [_node("Relu", ["b"], ["a"]), _node("Relu", ["a"], ["b"])])


def _integer_division(model):
    _weight(model, "zero", np.zeros(1, np.int64))
    _chain(model, [_node("Div", ["zero", "zero"], ["crash"])])


def _batch_by_batch(model):
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.INT64, ["batch"]))
    _chain(model, [_node("Gather", ["x", "y"], ["square"], axis=2)])


def _overflow(model):
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**32, 2**32, 1, 1])


def _note(model):
    model.graph.value_info.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, ["batch", 2**40]))
    _chain(model, [_node("Relu", ["x"], ["n"])])


def _strings(model):
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"word"]))


def _two_ways(model):
    model.graph.initializer[0].float_data.extend([1.0, 1.0])


BEYOND = {
    "channels double": (_doubling, "would hold|out of range"),
    "weights double": (_doubling_weights, "weights alone|would hold|out of range"),
    "weights spread": (_spread, "would hold"),
    "edges without end": (_many_lookups, "weights alone"),
    "all at once": (_all_at_once, "at once"),
    "work without end": (_long_work, "multiplications"),
    "group": (_attribute("group", 2**62), "group"),
    "group of none": (_attribute("group", 0), "group"),
    "strides": (_attribute("strides", [0, 0]), "strides"),
    "dilations": (_attribute("dilations", [2**40, 1]), "dilations"),
    "pads": (_attribute("pads", [2**40] * 4), "pads"),
    "negative pads": (_attribute("pads", [-1] * 4), "pads"),
    "kernel": (_attribute("kernel_shape", [2**40] * 2), "kernel_shape"),
    "a list without end": (_attribute("pads", [0] * 1000), "too long"),
    "an attribute of another kind": (_attribute("group", 1.5), "not known"),
    "a text as attribute": (_attribute("auto_pad", "SAME_UPPER"), "auto_pad|too long"),
    "an unknown attribute": (_attribute("activation", "Relu"), "not known"),
    "a subgraph": (_subgraph, "not known"),
    "block of 2^62": (_blocks("DepthToSpace", 2**62), "blocks"),
    "block of 0": (_blocks("DepthToSpace", 0), "blocks"),
    "block of -2": (_blocks("SpaceToDepth", -2), "blocks"),
    "block that does not fit": (_blocks("SpaceToDepth", 3), "blocks"),
    "input of a negative size": (_input_dim(2, -4), "fixed others"),
    "input of a huge size": (_input_dim(2, 2**40), "out of range"),
    "a cycle": (_cycle, "nothing before it gives"),
    "one name twice": (_before(_node("Relu", ["x"], ["z"])), "given twice"),
    "the name of a weight": (_before(_node("Relu", ["x"], ["w"])), "given twice"),
    "whole numbers divided": (_integer_division, "floating type"),
    "the batch squared": (_batch_by_batch, "weight by whole numbers"),
    "sizes that overflow": (_overflow, "shape asks"),
    "a false note": (_note, "notes another size"),
    "texts": (_strings, "STRING"),
    "values twice": (_two_ways, "twice"),
    "a split without end": (
        _before(helper.make_node("Split", ["x"], [f"p{i}" for i in range(100)], axis=1, num_outputs=100)),
        "100 outputs",
    ),
    "a split into none": (_before(_node("Split", ["x"], ["p"], axis=1, num_outputs=2**40)), "parts"),
    "an axis that is not there": (_before(_node("Concat", ["x", "x"], ["c"], axis=9)), "no axis"),
    "the batch joined": (_before(_node("Concat", ["x", "x"], ["c"], axis=0)), "batch"),
    "a long name": (lambda m: setattr(m.graph.node[0], "name", "n" * 5000), "letters"),
    "another output": (
        lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[2], "dim_value", 3),
        "declared",
    ),
    "training": (lambda m: m.training_info.add(), "training"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_sizes_and_variants_beyond_a_glow_are_refused_before_anything_runs(name):
    change, words = BEYOND[name]
    model = _model()
    change(model)
    with pytest.raises(BundleError, match=words) as raised:
        parse_model(model.SerializeToString(), source="bad.onnx")
    assert str(raised.value).startswith("bad.onnx")
    assert len(str(raised.value)) < 400


def test_a_glow_s_own_variants_pass():
    """The control: each of the operators above in the way that a Glow has it."""
    model = _model()
    _weight(model, "table", np.ones((1, 4, 2, 1), np.float32))
    _weight(model, "index", np.array([0, 1, -1], np.int64))
    _chain(
        model,
        [
            _node("SpaceToDepth", ["x"], ["b"], blocksize=2),
            _node("Concat", ["b", "b"], ["c"], axis=-3),
            helper.make_node("Split", ["c"], ["p", "q"], axis=1, num_outputs=2),
            _node("DepthToSpace", ["p"], ["d"], blocksize=2, mode="CRD"),
            _node("Gather", ["table", "index"], ["edge"], axis=2),
        ],
    )
    model.graph.node[-1].attribute.append(helper.make_attribute("group", 1))
    sizes = lint_model(model, source="good.onnx")
    assert sizes.tensors["c"].dims == (8, 1, 1)
    assert sizes.tensors["edge"].dims == (1, 4, 3, 1)
    assert sizes.constants == 12
    assert sizes.tensors["z"].dims == (2, 2, 2)


def test_nodes_and_fields_are_counted_before_they_are_built():
    nodes = b"\x0a\x00" * 2_100_000  # empty nodes, of two bytes each
    with pytest.raises(BundleError, match="entries"):
        parse_model(b"\x08\x0a\x3a" + _length(nodes) + nodes, source="many.onnx")
    nodes = b"\x0a\x00" * 60_000
    with pytest.raises(BundleError, match="nodes or weights"):
        parse_model(b"\x08\x0a\x3a" + _length(nodes) + nodes, source="many.onnx")
    text = b"\x52" + _length(b"d" * (17 << 20)) + b"d" * (17 << 20)  # a doc_string of the graph
    with pytest.raises(BundleError, match="MiB of names"):
        parse_model(b"\x08\x0a\x3a" + _length(text) + text, source="long.onnx")


def _length(data):
    size, out = len(data), b""
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size])
