"""The graphs in plain onnxruntime, against the float64 model, with every option crossed."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
from model_graphs import graphs_of, session_of

from glow_core import GlowConfig
from glow_deploy.artifact.lint import lint_model

CASES = [
    pytest.param(
        {"coupling": coupling, "bounded_scale": bounded, "permutation": permutation, "num_classes": classes, **shape},
        id=f"{coupling}{'' if bounded else '-unbounded'}-{permutation}-{classes or 'no'}classes-L{shape['levels']}",
    )
    for (coupling, bounded), permutation, classes, shape in itertools.product(
        [("affine", True), ("affine", False), ("additive", True)],
        ["lu", "plain", "shuffle"],
        [None, 3],
        [
            {"image_size": (4, 6), "channels": 1, "levels": 1},
            {"image_size": (8, 4), "channels": 3, "levels": 2},
            {"image_size": (16, 8), "channels": 1, "levels": 3},
            {"image_size": (16, 16), "channels": 3, "levels": 4},
        ],
    )
]
# In the quick half every two options meet.
OPTIONS = [
    pytest.param(*case.values, id=case.id, marks=[pytest.mark.slow] * ((n // 8 + n // 4 + n) % 2))
    for n, case in enumerate(CASES)
]


@pytest.mark.parametrize("options", OPTIONS)
def test_graphs_compute_what_the_model_computes(options, perturbed_glow):
    config = GlowConfig(**options, steps=2, width=8)
    glow = perturbed_glow(config).double()
    graphs = graphs_of(glow)
    for role, model in graphs.items():
        onnx.checker.check_model(model, full_check=True)
        lint_model(model, source=role)
    encoder, decoder = session_of(graphs["encoder"]), session_of(graphs["decoder"])
    latents = [f"z{level}" for level in range(1, config.levels + 1)]
    labels = [] if config.num_classes is None else ["y"]
    assert [value.name for value in encoder.get_inputs()] == ["x", *labels]
    assert [value.name for value in encoder.get_outputs()] == [*latents, "log_prob"]
    assert [value.name for value in decoder.get_inputs()] == [*latents, *labels]
    assert [value.name for value in decoder.get_outputs()] == ["x"]
    for batch in (1, 3):
        x = torch.rand(batch, config.channels, *config.image_size, dtype=torch.float32)
        y = None if config.num_classes is None else torch.arange(batch) % config.num_classes
        with torch.no_grad():
            z, log_prob = glow.encode(x.double(), y)
        extra = {} if y is None else {"y": y.numpy()}
        encoded = dict(zip([*latents, "log_prob"], encoder.run(None, {"x": x.numpy(), **extra}), strict=True))
        for name, expected in zip(latents, z, strict=True):
            assert np.abs(encoded[name] - expected.numpy()).max() < 2e-4, name
        assert encoded["log_prob"].shape == (batch,)
        bits = (encoded["log_prob"] - log_prob.numpy()) / (config.dims * np.log(2))
        assert np.abs(bits).max() < 1e-5
        # Decode the float64 latents, so that encoder and decoder cannot cancel each other's faults.
        fed = {name: part.numpy().astype(np.float32) for name, part in zip(latents, z, strict=True)}
        (x_hat,) = decoder.run(None, {**fed, **extra})
        assert np.abs(x_hat - x.numpy()).max() < 2e-4


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_changed_weight_is_noticed(role, perturbed_glow):
    """The comparison above can fail: one entry of one 1x1 off by 5 %, and it does."""
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8)
    glow = perturbed_glow(config).double()
    graphs = graphs_of(glow)
    for tensor in graphs[role].graph.initializer:
        if tensor.name == "level2/step01/invconv/weight":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values.flat[np.abs(values).argmax()] *= 1.05
            tensor.raw_data = values.tobytes()
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        z, _ = glow.encode(x.double())
    obtained = session_of(graphs["encoder"]).run(None, {"x": x.numpy()})
    fed = {f"z{level}": part.numpy().astype(np.float32) for level, part in enumerate(z, start=1)}
    (x_hat,) = session_of(graphs["decoder"]).run(None, fed)
    errors = {"encoder": np.abs(obtained[1] - z[1].numpy()).max(), "decoder": np.abs(x_hat - x.numpy()).max()}
    assert errors[role] > 1e-3
    assert min(errors.values()) < 2e-4


def test_batch_is_the_only_dynamic_dimension(perturbed_glow):
    graphs = graphs_of(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8)))
    for model in graphs.values():
        for value in (*model.graph.input, *model.graph.output):
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "batch"
            assert all(dim.dim_value > 0 for dim in rest)


def test_extreme_conditioner_outputs_stay_finite(perturbed_glow):
    """A sigmoid that underflows in float32 must neither become log 0 in the encoder nor 1/0 in the decoder."""
    config = GlowConfig(image_size=(4, 4), channels=1, levels=1, steps=1, width=4, bounded_scale=False)
    glow = perturbed_glow(config).double()
    conv3 = glow.flow_levels()[0].flow_steps()[0].coupling.conditioner.conv3
    conv3.bias.data[2] = -62.0
    graphs = graphs_of(glow)
    x = torch.rand(2, 1, 4, 4)
    z, log_prob = session_of(graphs["encoder"]).run(None, {"x": x.numpy()})
    with torch.no_grad():
        expected = glow.log_prob(x.double()).numpy()
    assert np.abs(log_prob - expected).max() < 1e-3 * np.abs(expected).max()
    (decoded,) = session_of(graphs["decoder"]).run(None, {"z1": np.zeros_like(z)})
    assert np.isfinite(decoded).all()
