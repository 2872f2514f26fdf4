import numpy as np
import onnx
import onnxruntime
import pytest

from glow_core import GlowConfig
from glow_deploy.artifact.taps import constant_tensors, with_outputs
from glow_deploy.errors import UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.numerics.float64 import Float64Graph


@pytest.fixture
def encoder(perturbed_glow):
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 4), levels=2, steps=2, width=8)))
    return build_encoder(
        folded, metadata=describe(folded, role="encoder", precision="fp32", model_id="1" * 64)
    ).to_model()


def _run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def test_inner_tensors_become_outputs_and_the_others_stay(encoder):
    before = encoder.SerializeToString(deterministic=True)
    tapped = with_outputs(encoder, ["level2/step01/out", "z1", "level1/step02/coupling/conv3:0"])
    onnx.checker.check_model(tapped, full_check=True)
    assert encoder.SerializeToString(deterministic=True) == before
    names = [value.name for value in tapped.graph.output]
    assert names == ["z1", "z2", "log_prob", "level2/step01/out", "level1/step02/coupling/conv3:0"]
    shape = tapped.graph.output[3].type.tensor_type.shape.dim
    assert [shape[0].dim_param, *(dim.dim_value for dim in shape[1:])] == ["batch", 24, 2, 1]
    x = np.random.default_rng(0).random((3, 3, 8, 4), dtype=np.float32)
    plain, shown = _run(encoder, x), _run(tapped, x)
    for name, value in plain.items():
        assert np.abs(shown[name] - value).max() < 1e-5 * max(1.0, np.abs(value).max()), name
    assert shown["level2/step01/out"].shape == (3, 24, 2, 1)


def test_a_name_that_no_node_gives_is_refused(encoder):
    with pytest.raises(UsageError, match="level9/step01/out"):
        with_outputs(encoder, ["level9/step01/out"])


def test_what_comes_from_weights_alone_is_told_apart(perturbed_glow):
    config = GlowConfig(image_size=(16, 8), channels=1, levels=3, steps=2, width=8, edge_bias=True)
    folded = fold(perturbed_glow(config))
    facts = describe(folded, role="encoder", precision="fp32", model_id="1" * 64)
    model = build_encoder(folded, metadata=facts).to_model()
    spread = "level1/step01/coupling/conv1/minus_edge/columns:0"
    assert spread in constant_tensors(model)
    assert len(constant_tensors(model)) == 15
    graph = Float64Graph(model)
    assert not constant_tensors(model) & set(graph.tensor_names)
    x = np.zeros((1, 1, 16, 8), np.float32)
    for options in ({"outputs": [spread]}, {"outputs": ["z1"], "overrides": {spread: x}}):
        with pytest.raises(UsageError, match="the same for every image"):
            graph.run({"x": x}, **options)
    # What the edge is added to can be shown, replaced and tapped as any other tensor.
    edged = "level1/step01/coupling/conv1/add_edge:0"
    shown = _run(with_outputs(model, [edged]), x)[edged]
    assert np.abs(shown - graph.run({"x": x}, outputs=[edged])[edged]).max() < 1e-5
