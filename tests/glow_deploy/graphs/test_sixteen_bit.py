"""Graphs with parts in 16 bit: which tensor has which type, what is refused, and who can read them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from narrow_graphs import BUILD, narrow_graph
from onnx import TensorProto

from glow_core import GlowConfig
from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.artifact.lint import lint_model
from glow_deploy.compile import CompileSettings
from glow_deploy.compile.build import build_plan
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize

NAMES = ["mixed", "bf16-mixed", "fp16", "auto"]
ELEMENT = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
CONFIGS = {
    "affine-L1-grey": {"image_size": (4, 6), "channels": 1, "levels": 1},
    "affine-L2-classes": {"image_size": (8, 4), "levels": 2, "num_classes": 3, "permutation": "plain"},
    "unbounded-L3-grey": {"image_size": (16, 8), "channels": 1, "levels": 3, "bounded_scale": False},
    "additive-L4": {"image_size": (16, 16), "levels": 4, "coupling": "additive"},
    "edges-L2": {"image_size": (16, 8), "levels": 2, "edge_bias": True},
    "edges-independent-L3-classes": {
        "image_size": (16, 8),
        "channels": 1,
        "levels": 3,
        "num_classes": 3,
        "edge_bias": True,
        "prior": "independent",
        "bounded_scale": False,
    },
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def folded(request, perturbed_glow):
    return fold(perturbed_glow(GlowConfig(**request.param, steps=2, width=8)))


def _plan(name, folded):
    if name == "auto":
        return PrecisionPlan.auto(folded, narrow=["level1/step02"])
    return PrecisionPlan.uniform(name, folded)


def _types(model):
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output, *graph.input)}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("role", BUILD)
@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_the_number_of_its_plan(name, role, folded):
    plan = _plan(name, folded)
    model = narrow_graph(folded, role, plan).to_model()
    onnx.checker.check_model(model, full_check=True)
    lint_model(model, source=role)
    types = _types(model)
    casts = {node.name for node in model.graph.node if node.op_type == "Cast"}
    expected = set()
    for path, number in plan.conditioners.items():
        for part in ("conv1", "relu1", "conv2", "relu2", "conv3"):
            assert types.pop(f"{path}/coupling/{part}:0") == ELEMENT[number], (path, part)
            for kind in ("weight", "bias") if part.startswith("conv") else ():
                assert types.pop(f"{path}/coupling/{part}/{kind}") == ELEMENT[number], (path, part, kind)
        # An edge has the number of its convolution, spread and added.
        for key in [key for key in types if key.startswith(f"{path}/coupling/") and "edge" in key]:
            assert types.pop(key) == ELEMENT[number], key
        if number != plan.trunk:
            expected |= {f"{path}/coupling/cast_in", f"{path}/coupling/cast_out"}
            assert types.pop(f"{path}/coupling/cast_in:0") == ELEMENT[number]
            assert types.pop(f"{path}/coupling/cast_out:0") == TensorProto.FLOAT
    for value in (*model.graph.input, *model.graph.output):
        assert types.pop(value.name) == (TensorProto.INT64 if value.name == "y" else TensorProto.FLOAT)
    exact = {key for key in types if "log_det" in key or "log_prob" in key or key == "constants/minus_half"}
    trunk = {key for key in set(types) - exact - {"constants/axes"} if not key.startswith("constants/edge_index/")}
    assert {types[key] for key in exact} <= {TensorProto.FLOAT}
    assert {types[key] for key in trunk} == {ELEMENT[plan.trunk]}
    if name != "fp16":
        assert casts == expected
    else:
        assert {cast for cast in casts if "log_det" not in cast} == {
            *(
                f"z{level}/{'cast_out' if role == 'encoder' else 'cast_in'}"
                for level in range(1, len(folded.levels) + 1)
            ),
            f"x/{'cast_in' if role == 'encoder' else 'cast_out'}",
        }
    bfloat16 = name == "bf16-mixed"
    assert (model.opset_import[0].version, model.ir_version) == (22 if bfloat16 else 20, 10)


@pytest.mark.parametrize("role", BUILD)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_model_gives_the_same_bytes(name, role, one_level):
    plan = _plan(name, one_level)
    assert serialize(narrow_graph(one_level, role, plan)) == serialize(narrow_graph(one_level, role, plan))
    # A plan that names every step fp32 is the graph without a plan.
    plain = BUILD[role](one_level, metadata=describe(one_level, role=role, precision="fp32", model_id="1" * 64))
    named = BUILD[role](
        one_level,
        metadata=describe(one_level, role=role, precision="fp32", model_id="1" * 64),
        plan=PrecisionPlan.uniform("fp32", one_level),
    )
    assert serialize(plain) == serialize(named)


@pytest.mark.parametrize("role", BUILD)
def test_weights_are_stored_once_and_rounded_to_nearest(role, one_level):
    import ml_dtypes

    wide = narrow_graph(one_level, role, PrecisionPlan.uniform("fp32", one_level)).weights
    for name, dtype in (("mixed", np.float16), ("bf16-mixed", ml_dtypes.bfloat16)):
        graph = narrow_graph(one_level, role, PrecisionPlan.uniform(name, one_level))
        assert list(graph.weights) == list(wide)
        key = "level1/step01/coupling/conv2/weight"
        assert graph.weights[key].dtype == dtype
        assert (graph.weights[key] == wide[key].astype(dtype)).all()
        stored = {
            tensor.name: len(tensor.raw_data) for tensor in onnx.load_from_string(serialize(graph)).graph.initializer
        }
        assert stored[key] == 2 * wide[key].size


@pytest.mark.parametrize("cast", ["cast_in", "cast_out"])
def test_a_missing_cast_is_caught(cast, one_level):
    model = narrow_graph(one_level, "encoder", PrecisionPlan.uniform("mixed", one_level)).to_model()
    (node,) = [node for node in model.graph.node if node.name == f"level1/step02/coupling/{cast}"]
    for other in model.graph.node:
        other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]
    model.graph.node.remove(node)
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(model, full_check=True)
    with pytest.raises(Exception, match="Type"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_onnxruntime_on_the_cpu_has_no_bfloat16_convolution(one_level):
    """Why a bf16-mixed graph is examined on its simulation there; when this fails, it need not be any more."""
    data = serialize(narrow_graph(one_level, "encoder", PrecisionPlan.uniform("bf16-mixed", one_level)))
    with pytest.raises(Exception, match="Conv"):
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("feature", [{}, {"edge_bias": True, "prior": "independent"}], ids=["plain", "edges"])
@pytest.mark.parametrize("name", NAMES)
def test_tensorrt_for_rtx_compiles_both_graphs(name, feature, perturbed_glow):
    trt = pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    from glow_deploy.compile.rtx import configure_rtx

    folded = fold(perturbed_glow(GlowConfig(image_size=(16, 8), levels=2, steps=2, width=8, num_classes=3, **feature)))
    settings = CompileSettings(flavor="rtx", gpus=("sm86",), min_batch=1, opt_batch=2, max_batch=4)
    for role in BUILD:
        data = serialize(narrow_graph(folded, role, _plan(name, folded)))
        plan = build_plan(
            data,
            read_graph(data, source=role),
            trt=trt,
            settings=settings,
            configure=lambda config: configure_rtx(trt, config, settings),
            source=role,
        )
        assert plan[:4] == b"vtrt"
