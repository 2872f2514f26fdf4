"""Graphs of models that know their border or have independent priors: the same function, in a few more nodes."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from model_graphs import BUILD, models_of

from glow_core import GlowConfig
from glow_deploy.artifact.lint import lint_model
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.precision_plan import PrecisionPlan, multiply_adds
from glow_deploy.inspect.flops import flops_per_image
from glow_deploy.numerics.float64 import Float64Graph

FEATURES = {
    "edges": {"edge_bias": True},
    "independent": {"prior": "independent"},
    "both": {"edge_bias": True, "prior": "independent"},
}
COUPLINGS = {
    "affine": {},
    "unbounded": {"bounded_scale": False},
    "additive": {"coupling": "additive", "permutation": "plain"},
}
SHAPES = {
    "1x1": {"image_size": (2, 2), "channels": 1, "levels": 1},
    "2x3": {"image_size": (4, 6), "channels": 1, "levels": 1},
    "4x2-2x1": {"image_size": (8, 4), "channels": 3, "levels": 2},
    "8x4-2x1": {"image_size": (16, 8), "channels": 1, "levels": 3},
    "8x8-1x1": {"image_size": (16, 16), "channels": 3, "levels": 4},
}
CASES = [
    pytest.param(
        {
            **FEATURES[feature],
            **COUPLINGS[coupling],
            **SHAPES[shape],
            "num_classes": (None, 3)[(a + b + c) % 2],
        },
        id=f"{feature}-{coupling}-{shape}-{('no', 3)[(a + b + c) % 2]}classes",
        # Every pair of options is met without the slow ones.
        marks=() if (a + b + c) % 3 == 0 else pytest.mark.slow,
    )
    for a, feature in enumerate(FEATURES)
    for b, coupling in enumerate(COUPLINGS)
    for c, shape in enumerate(SHAPES)
]


def _ort(model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def _float64(model, feeds):
    return Float64Graph(model).run(feeds, outputs=[value.name for value in model.graph.output])


def _expected(glow, batch, *, seed=0):
    """What is fed to the encoder, and what the model makes of it in float64."""
    config = glow.config
    x = torch.rand(batch, config.channels, *config.image_size, generator=torch.Generator().manual_seed(seed))
    y = None if config.num_classes is None else (torch.arange(batch) + 1) % config.num_classes
    with torch.no_grad():
        z, log_prob = glow.double().encode(x.double(), y)
    latents = {f"z{level}": part.numpy() for level, part in enumerate(z, start=1)}
    return {"x": x.numpy()}, latents, log_prob.numpy(), {} if y is None else {"y": y.numpy()}


def _errors(models, glow, run, *, batch=3):
    """Largest differences from the model: of the latents, of log_prob in bits/dim, of x."""
    x, latents, log_prob, labels = _expected(glow, batch)
    encoded = run(models["encoder"], {**x, **labels})
    fed = {name: part.astype(np.float32) for name, part in latents.items()}
    decoded = run(models["decoder"], {**fed, **labels})["x"]
    return (
        max(float(np.abs(encoded[name] - part).max()) for name, part in latents.items()),
        float(np.abs(encoded["log_prob"] - log_prob).max() / (glow.config.dims * np.log(2))),
        float(np.abs(decoded - x["x"]).max()),
    )


@pytest.mark.parametrize("options", CASES)
def test_graphs_compute_what_the_model_computes(options, perturbed_glow):
    glow = perturbed_glow(GlowConfig(**options, steps=2, width=8))
    models = {role: graph.to_model() for role, graph in models_of(fold(glow)).items()}
    for role, model in models.items():
        onnx.checker.check_model(model, full_check=True)
        lint_model(model, source=role)
    for batch in (1, 3):
        latents, bits, pixels = _errors(models, glow, _ort, batch=batch)
        assert max(latents, pixels) < 2e-5
        assert bits < 1e-5
    # Without float32's rounding of activations next to nothing is left: that of weights and latents.
    latents, bits, pixels = _errors(models, glow, _float64)
    assert max(latents, pixels) < 3e-6
    assert bits < 2e-6


@pytest.fixture(scope="module")
def independent(perturbed_glow):
    return perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, prior="independent", num_classes=3))


def _tampered(models, role, name, change):
    """Both models, with one initializer of one graph changed."""
    result = {key: graph.to_model() for key, graph in models.items()}
    (tensor,) = [tensor for tensor in result[role].graph.initializer if tensor.name == name]
    array = change(onnx.numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
    return result


EDGES = [
    "level1/step02/coupling/conv1/minus_edge",
    "level2/step01/coupling/conv3/minus_edge",
    "level1/split/conv/minus_edge",
]


@pytest.mark.parametrize("role", BUILD)
@pytest.mark.parametrize("name", EDGES)
def test_a_wrong_edge_is_noticed(name, role, glow):
    """The comparison above can fail: an edge of zeros, two rows exchanged, and the sign of a half the other way."""
    models = models_of(fold(glow))
    table = models[role].weights[name]
    assert table.shape[0] == 1
    assert table.shape[2] > 1

    def other_half(array):
        array[:, array.shape[1] // 2 :] *= -1
        return array

    for change in (np.zeros_like, lambda array: array[:, :, ::-1], other_half):
        latents, _, pixels = _errors(_tampered(models, role, name, change), glow, _ort)
        wrong, right = (latents, pixels) if role == "encoder" else (pixels, latents)
        assert wrong > 2e-3
        assert right < 2e-5


@pytest.mark.parametrize("role", BUILD)
def test_a_wrong_spread_is_noticed(role, glow):
    models = models_of(fold(glow))
    changed = _tampered(models, role, "constants/edge_index/8", lambda index: np.roll(index, 1))
    latents, _, pixels = _errors(changed, glow, _ort)
    assert (latents if role == "encoder" else pixels) > 2e-3


@pytest.mark.parametrize("role", BUILD)
@pytest.mark.parametrize("name", ["level1/split/mean", "level1/split/scale", "prior/mean", "prior/scale"])
def test_a_wrong_prior_is_noticed(name, role, independent):
    name = name.replace("/scale", "/inverse_scale") if role == "encoder" else name
    models = models_of(fold(independent))
    assert max(_errors({key: graph.to_model() for key, graph in models.items()}, independent, _ort)) < 2e-5
    # Exchanged classes, and exchanged places.
    for change in (lambda array: np.roll(array, 1, axis=0), lambda array: array[..., ::-1]):
        latents, _, pixels = _errors(_tampered(models, role, name, change), independent, _ort)
        wrong, right = (latents, pixels) if role == "encoder" else (pixels, latents)
        assert wrong > 2e-3
        assert right < 2e-5


def test_a_wrong_log_determinant_of_a_prior_is_noticed(independent):
    models = models_of(fold(independent))
    changed = _tampered(models, "encoder", "level1/split/log_det", lambda table: np.roll(table, 1))
    latents, bits, _ = _errors(changed, independent, _ort)
    assert latents < 2e-5
    assert bits > 1e-4


@pytest.mark.parametrize("side", [16, 192])
def test_the_work_is_that_of_the_convolutions(side, perturbed_glow):
    """Also where an index has so many entries that its values are kept from shape inference."""
    config = GlowConfig(image_size=(8, side), levels=2, steps=1, width=8, edge_bias=True, prior="independent")
    folded = fold(perturbed_glow(config))
    flops = sum(flops_per_image(graph.to_model()) for graph in models_of(folded).values())
    assert flops == 2 * sum(multiply_adds(folded).values())


def _opened_plainly(model, capfd):
    """What ONNX Runtime writes when it opens a graph with its default settings."""
    capfd.readouterr()
    with contextlib.suppress(onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented):  # Conv in bfloat16
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return "".join(capfd.readouterr())


@pytest.mark.parametrize("name", ["fp32", "mixed", "bf16-mixed", "fp16"])
def test_a_runtime_has_nothing_to_say_about_edges(name, glow, capfd):
    """An edge on sides of 3 and less has no Gather: a node in its place would be folded, in 16 bit or not at all."""
    folded = fold(glow)
    plan = None if name == "fp32" else PrecisionPlan.uniform(name, folded)
    for graph in models_of(folded, plan).values():
        assert _opened_plainly(graph.to_model(), capfd) == ""


@pytest.mark.parametrize("role", BUILD)
def test_what_a_runtime_says_is_noticed(role, glow, capfd):
    """The check above can fail: with the sign changed by a node, the CPU provider says that it has no such kernel."""
    folded = fold(glow)
    model = models_of(folded, PrecisionPlan.uniform("mixed", folded))[role].to_model()
    table = "level3/step01/coupling/conv1/minus_edge"
    (sub,) = [node for node in model.graph.node if node.input[1:] == [table]]
    sub.input[1] = "negative"
    model.graph.node.insert(0, onnx.helper.make_node("Neg", [table], ["negative"], name="negative"))
    assert "Neg" in _opened_plainly(model, capfd)


@pytest.mark.parametrize("name", ["mixed", "fp16"])
@pytest.mark.parametrize("feature", FEATURES)
def test_narrow_graphs_compute_the_model_within_their_number(name, feature, perturbed_glow):
    """In ONNX Runtime, which rounds weights, and activations where the trunk is narrow."""
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, **FEATURES[feature]))
    folded = fold(glow)
    plan = PrecisionPlan.uniform(name, folded)
    models = {role: graph.to_model() for role, graph in models_of(folded, plan).items()}
    latents, bits, pixels = _errors(models, glow, _ort)
    assert 1e-5 < max(latents, pixels) < 0.05
    assert bits < 2e-3


def test_names_of_independent_priors_are_those_of_the_last(independent):
    models = models_of(fold(independent))
    encoder, decoder = ({name: list(array.shape) for name, array in models[role].weights.items()} for role in BUILD)
    for path, shape in (("level1/split", [3, 6, 4, 4]), ("prior", [3, 24, 2, 2])):
        assert encoder[f"{path}/mean"] == encoder[f"{path}/inverse_scale"] == shape
        assert encoder[f"{path}/log_det"] == [3]
        assert decoder[f"{path}/mean"] == decoder[f"{path}/scale"] == shape
    assert not [name for name in (*encoder, *decoder) if "split/conv" in name]
