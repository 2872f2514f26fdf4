import numpy as np
import onnx
import onnxruntime
import pytest

from glow_core import GlowConfig
from glow_deploy.artifact.taps import with_outputs
from glow_deploy.errors import UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder


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
