"""The float64 evaluation against the trained model in float64, onnx's own reference and onnxruntime."""

import itertools

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from glow_core import GlowConfig
from glow_deploy.artifact.lint import ALLOWED_OPS
from glow_deploy.errors import BundleError, UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.numerics.float64 import Float64Graph, evaluate
from glow_deploy.numerics.float64.ops import OPERATORS

OPTIONS = [
    pytest.param(
        {"coupling": coupling, "bounded_scale": bounded, "permutation": permutation, "num_classes": classes, **shape},
        id=f"{coupling}{'' if bounded else '-unbounded'}-{permutation}-{classes or 'no'}classes-L{shape['levels']}",
    )
    for (coupling, bounded), permutation, classes, shape in itertools.product(
        [("affine", True), ("affine", False), ("additive", True)],
        ["lu", "reverse"],
        [None, 3],
        [
            {"image_size": (4, 6), "channels": 1, "levels": 1},
            {"image_size": (8, 4), "channels": 3, "levels": 2},
            {"image_size": (16, 8), "channels": 1, "levels": 3},
        ],
    )
]


def graphs(glow):
    folded = fold(glow)
    return {
        role: build(folded, metadata=describe(folded, role=role, precision="fp32", model_id="0" * 64)).to_model()
        for role, build in (("encoder", build_encoder), ("decoder", build_decoder))
    }


def in_float64(model):
    """The same graph with every float tensor declared float64, which onnx's reference then computes in."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    return model


def relative(obtained, expected):
    return np.abs(obtained - expected).max() / np.sqrt(np.mean(np.square(expected)))


def example(config, n=3):
    x = torch.rand(n, config.channels, *config.image_size, dtype=torch.float64)
    return x, None if config.num_classes is None else torch.arange(n) % config.num_classes


@pytest.mark.parametrize("options", OPTIONS)
def test_it_computes_what_the_model_computes_in_float64(options, perturbed_glow):
    config = GlowConfig(**options, steps=2, width=16)
    glow = perturbed_glow(config).double()
    models = graphs(glow)
    x, y = example(config)
    extra = {} if y is None else {"y": y.numpy()}
    latents = [f"z{level}" for level in range(1, config.levels + 1)]
    with torch.no_grad():
        z, log_prob = glow.encode(x, y)
    expected = dict(zip(latents, (part.numpy() for part in z), strict=True)) | {"log_prob": log_prob.numpy()}
    obtained = evaluate(models["encoder"], {"x": x.numpy(), **extra}, outputs=list(expected), batch=2)
    # The weights are stored in float32; nothing else is rounded.
    for name, values in expected.items():
        assert obtained[name].dtype == np.float64
        assert obtained[name].shape == values.shape
        assert relative(obtained[name], values) < 2e-6, name
    fed = {name: expected[name] for name in latents} | extra
    (x_hat,) = evaluate(models["decoder"], fed, outputs=["x"]).values()
    assert relative(x_hat, x.numpy()) < 2e-6


@pytest.mark.parametrize("options", OPTIONS[::5])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_it_agrees_with_the_reference_evaluation_of_onnx_to_the_last_digits(role, options, perturbed_glow):
    config = GlowConfig(**options, steps=2, width=8)
    model = graphs(perturbed_glow(config))[role]
    feeds = random_feeds(model)
    names = [value.name for value in model.graph.output]
    expected = dict(zip(names, ReferenceEvaluator(in_float64(model)).run(names, feeds), strict=True))
    obtained = evaluate(model, feeds, outputs=names)
    for name in names:
        assert expected[name].dtype == np.float64
        assert relative(obtained[name], expected[name]) < 1e-12, name


def random_feeds(model, n=2):
    rng = np.random.default_rng(0)
    return {
        value.name: np.arange(n) % 3
        if value.name == "y"
        else rng.standard_normal((n, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])))
        for value in model.graph.input
    }


def test_onnxruntime_gives_the_same_within_float32(perturbed_glow):
    model = graphs(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=3, width=16)))["encoder"]
    feeds = {"x": random_feeds(model)["x"].astype(np.float32)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    obtained = evaluate(model, feeds, outputs=names)
    for name, values in zip(names, session.run(None, feeds), strict=True):
        assert 1e-12 < relative(obtained[name], values) < 1e-4


@pytest.mark.parametrize("tensor", ["level2/step01/invconv/weight", "level1/step02/coupling/conv3/weight"])
def test_a_weight_off_by_a_millionth_shows(tensor, perturbed_glow):
    """The comparisons above can fail."""
    model = graphs(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=16)))["encoder"]
    feeds = random_feeds(model)
    names = [value.name for value in model.graph.output]
    before = evaluate(model, feeds, outputs=names)
    spoiled = next(part for part in model.graph.initializer if part.name == tensor)
    values = numpy_helper.to_array(spoiled).copy()
    values.flat[np.abs(values).argmax()] *= 1 + 1e-6
    spoiled.raw_data = values.tobytes()
    after = evaluate(model, feeds, outputs=names)
    assert max(relative(after[name], before[name]) for name in names) > 1e-10


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_weights_are_widened_and_casts_change_nothing(dtype):
    weight = np.array([1 / 3, 1e-3, -2.7, 512.5]).reshape(2, 2, 1, 1).astype(dtype)
    stored = numpy_helper.from_array(weight, "w")
    narrow = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.BFLOAT16
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], name="cast", to=narrow),
        helper.make_node("Conv", ["narrow", "w"], ["h"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("Cast", ["h"], ["out"], name="back", to=TensorProto.FLOAT),
    ]
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3))
    (out,) = evaluate(small(nodes, [stored]), {"x": x}, outputs=["out"]).values()
    assert relative(out, np.einsum("oc,nchw->nohw", weight[:, :, 0, 0].astype(np.float64), x)) < 1e-15


def small(nodes, weights=(), shape=(2, 3, 3)):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "small", [given], [made], initializer=list(weights)))


@pytest.mark.parametrize(("outputs", "inputs"), [(2, 5), (5, 2), (4, 4)])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolutions_are_those_of_torch(outputs, inputs, size):
    rng = np.random.default_rng(size)
    x, weight, bias = rng.standard_normal((2, inputs, 5, 7)), rng.standard_normal((outputs, inputs, size, size)), None
    bias = rng.standard_normal(outputs)
    expected = torch.nn.functional.conv2d(*(torch.from_numpy(a) for a in (x, weight, bias)), padding=size // 2)
    (obtained,) = OPERATORS["Conv"]([x, weight, bias], {"pads": [size // 2] * 4})
    assert relative(obtained, expected.numpy()) < 1e-13


def test_scales_far_out_are_exact():
    v = np.array([-800.0, -40.0, 0.0, 40.0, 800.0])
    with np.errstate(all="ignore"):
        (sigmoid,), (softplus,) = OPERATORS["Sigmoid"]([v], {}), OPERATORS["Softplus"]([v], {})
    np.testing.assert_allclose(sigmoid, [0.0, np.exp(-40.0), 0.5, 1.0, 1.0], rtol=1e-15, equal_nan=False)
    np.testing.assert_allclose(softplus, [0.0, np.exp(-40.0), np.log(2.0), 40.0, 800.0], rtol=1e-15, equal_nan=False)


def test_every_operator_of_our_graphs_is_known():
    """Graphs of integers have an interpreter of their own, in glow_deploy.exact."""
    of_exact_graphs_alone = {"Abs", "Clip", "Floor", "LessOrEqual", "Round", "Sum"}
    assert set(OPERATORS) == set(ALLOWED_OPS) - of_exact_graphs_alone


def test_a_decode_can_start_at_any_step(perturbed_glow):
    config = GlowConfig(image_size=(8, 8), levels=2, steps=3, width=8)
    graph = Float64Graph(graphs(perturbed_glow(config))["decoder"])
    feeds = random_feeds_of(graph, {"z1": (6, 4, 4), "z2": (24, 2, 2)})
    tensor = "level2/step02/invconv:0"
    whole = graph.run(feeds, outputs=["x", tensor])
    # Only z1 is left to read below that step.
    again = graph.run({"z1": feeds["z1"]}, outputs=["x"], overrides={tensor: whole[tensor]})
    assert np.array_equal(again["x"], whole["x"])
    moved = graph.run({"z1": feeds["z1"]}, outputs=["x"], overrides={tensor: whole[tensor] + 1e-3})
    assert np.abs(moved["x"] - whole["x"]).max() > 1e-5
    # What is computed before the replaced tensor does not change.
    both = graph.run(feeds, outputs=["level2/step03/invconv:0", "x"], overrides={tensor: whole[tensor]})
    assert np.array_equal(both["x"], whole["x"])


def random_feeds_of(graph, shapes, n=2):
    rng = np.random.default_rng(1)
    assert set(graph.input_names) == set(shapes)
    return {name: rng.standard_normal((n, *shape)) for name, shape in shapes.items()}


def test_the_batch_size_does_not_matter(perturbed_glow):
    model = graphs(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, num_classes=3)))["encoder"]
    feeds = random_feeds(model, n=5)
    one, all_ = (evaluate(model, feeds, outputs=["z2", "log_prob"], batch=batch) for batch in (1, 5))
    for name in one:
        assert relative(one[name], all_[name]) < 1e-12


def test_overflow_is_a_value_and_no_error():
    model = small([helper.make_node("Exp", ["x"], ["out"], name="exp")])
    (out,) = evaluate(model, {"x": np.full((1, 2, 3, 3), 1e4)}, outputs=["out"]).values()
    assert np.isinf(out).all()


RELU = helper.make_node("Relu", ["x"], ["out"], name="relu")
X = np.zeros((1, 2, 3, 3))


@pytest.mark.parametrize(
    ("feeds", "options", "message"),
    [
        ({"x": X}, {"outputs": ["other"]}, "no tensor 'other'"),
        ({"x": X}, {"outputs": ["out"], "overrides": {"other": X}}, "no tensor 'other'"),
        ({"x": X, "z": X}, {"outputs": ["out"]}, "no input 'z'"),
        ({}, {"outputs": ["out"]}, "'x' is needed"),
        ({"x": X[:, :1]}, {"outputs": ["out"]}, "must be"),
        ({"x": X[:0]}, {"outputs": ["out"]}, "at least one image"),
        ({"x": X}, {"outputs": ["out"], "overrides": {"out": np.zeros((2, 2, 3, 3))}}, "different numbers"),
    ],
)
def test_wrong_arguments_are_named(feeds, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(small([RELU]), feeds, **options)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Tanh", ["x"], ["out"], name="tanh")], "'tanh' is a Tanh"),
        ([helper.make_node("Relu", ["x"], ["out"], name="relu", domain="com.other")], "not part of a Glow"),
        ([helper.make_node("Add", ["x", "gone"], ["out"], name="add")], "nothing computes the tensor 'gone'"),
        ([helper.make_node("Relu", ["late"], ["out"], name="a"), helper.make_node("Relu", ["x"], ["late"], name="b")],
         "computed after"),
        ([helper.make_node("Split", ["x"], ["out", "b", "c"], name="s", axis=1, num_outputs=3)], "3 equal parts"),
        ([helper.make_node("Split", ["x"], ["out"], name="s", axis=1, num_outputs=2)], "gives 2 tensors"),
        ([helper.make_node("Cast", ["x"], ["out"], name="cast", to=TensorProto.INT64)], "one float type to another"),
        ([helper.make_node("SpaceToDepth", ["x"], ["out"], name="squeeze", blocksize=2)], "no blocks of 2x2"),
        ([helper.make_node("DepthToSpace", ["x"], ["out"], name="d", blocksize=2)], "2 channels"),
        ([helper.make_node("ReduceSum", ["x"], ["out"], name="sum")], "without a list of axes"),
        ([helper.make_node("Conv", ["x", "w"], ["out"], name="conv")], "keep the image's size"),
        ([helper.make_node("Conv", ["x", "w"], ["out"], name="conv", pads=[1] * 4, strides=[2, 2])], "strides"),
        ([helper.make_node("Conv", ["x", "v"], ["out"], name="conv")], "cannot take tensors"),
    ],
)  # fmt: skip
def test_graphs_that_are_not_ours_are_refused(nodes, message):
    shapes = {"w": (2, 2, 3, 3), "v": (2, 3, 1, 1)}
    weights = [numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name) for name, shape in shapes.items()]
    with pytest.raises(BundleError, match=message):
        evaluate(small(nodes, weights), {"x": X}, outputs=["out"])


def test_a_weight_can_be_read_in_float64():
    weight = numpy_helper.from_array(np.array([1 / 3], dtype=np.float16), "w")
    graph = Float64Graph(small([RELU], [weight]))
    assert graph.weight("w").dtype == np.float64
    with pytest.raises(BundleError, match="no weight 'v'"):
        graph.weight("v")


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.float32, 2**-24), (np.float16, 2**-11), (ml_dtypes.bfloat16, 2**-8)]
)
def test_the_roundoff_of_a_weight_is_that_of_its_type(dtype, expected):
    graph = Float64Graph(small([RELU], [numpy_helper.from_array(np.zeros(1, dtype=dtype), "w")]))
    assert graph.roundoff("w") == expected
