"""The simulation against torch's half kernels, exact arithmetic on rounded operands, and real graphs."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from glow_core import GlowConfig
from glow_deploy.artifact.lint import lint_model
from glow_deploy.artifact.taps import with_outputs
from glow_deploy.errors import UsageError
from glow_deploy.folding.arrays import edge_map
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.rounding import UNIT_ROUNDOFF, Rounding, round_values
from glow_deploy.precision.simulate import open_simulated, simulated_graph

BUILD = {"encoder": build_encoder, "decoder": build_decoder}
CONFIGS = {
    "affine-L1-grey": {"image_size": (4, 6), "channels": 1, "levels": 1},
    "affine-L2-classes-plain": {"image_size": (8, 4), "levels": 2, "num_classes": 3, "permutation": "plain"},
    "unbounded-L3-grey": {"image_size": (16, 8), "channels": 1, "levels": 3, "bounded_scale": False},
    "additive-L4": {"image_size": (16, 16), "levels": 4, "coupling": "additive"},
    "edges-L2": {"image_size": (16, 8), "levels": 2, "edge_bias": True},
    "edges-independent-L2-classes": {
        "image_size": (8, 8),
        "levels": 2,
        "num_classes": 3,
        "edge_bias": True,
        "prior": "independent",
    },
}
PATH = "level1/step02/coupling"
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def folded(request, perturbed_glow):
    return fold(perturbed_glow(GlowConfig(**request.param, steps=2, width=8)))


@pytest.fixture(scope="module")
def square(perturbed_glow):
    return fold(perturbed_glow(GlowConfig(image_size=(16, 16), levels=2, steps=3, width=32)))


def _graph(folded, role, plan=None):
    plan = plan or PrecisionPlan.uniform("fp32", folded)
    facts = describe(folded, role=role, precision=plan.name, model_id=folded.model_id())
    return BUILD[role](folded, metadata=facts, plan=plan).to_model()


def _run(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def _weights(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _images(folded, count, seed=0):
    return np.random.default_rng(seed).random((count, *folded.image_shape), dtype=np.float32)


def _rms(values):
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


@pytest.mark.parametrize("mode", HALF)
def test_conditioners_are_those_of_torchs_half_kernels(mode, square):
    rounding = Rounding.uniform(square, conditioners=mode)
    parts = ["conv1", "relu1", "conv2", "relu2", "conv3"]
    names = [f"{PATH}/split:0", *(f"{PATH}/{part}:0" for part in parts)]
    shown = _run(with_outputs(simulated_graph(_graph(square, "encoder"), rounding), names), {"x": _images(square, 8)})
    weights = {name: torch.tensor(values) for name, values in _weights(_graph(square, "encoder")).items()}
    given = torch.from_numpy(shown[names[0]])
    for part in parts:
        # Every layer from the simulation's own input, so that one rounding is compared at a time.
        source = given.to(HALF[mode])
        if part.startswith("relu"):
            obtained = F.relu(source)
        else:
            weight, bias = (weights[f"{PATH}/{part}/{kind}"].to(HALF[mode]) for kind in ("weight", "bias"))
            obtained = F.conv2d(source, weight, bias, padding=weight.shape[-1] // 2)
        expected = torch.from_numpy(shown[f"{PATH}/{part}:0"])
        assert torch.equal(expected, expected.to(HALF[mode]).float()), part
        difference = (obtained.float() - expected).abs()
        # One unit in the last place is two unit roundoffs of the value, with something absolute where sums cancel.
        ulp = 2 * UNIT_ROUNDOFF[mode] * expected.abs() + 1e-3 * UNIT_ROUNDOFF[mode] * expected.abs().max()
        assert (difference <= 1.01 * ulp).all(), part
        assert (difference == 0).float().mean() > 0.97, part
        given = expected


@pytest.mark.parametrize("mode", ["tf32", "fp16", "bf16"])
def test_edges_are_rounded_with_their_convolution(mode, perturbed_glow):
    """The table, and the sum; in TF32, which rounds the operands of a convolution alone, neither."""
    folded = fold(perturbed_glow(GlowConfig(image_size=(16, 16), levels=2, steps=2, width=32, edge_bias=True)))
    model = simulated_graph(_graph(folded, "encoder"), Rounding.uniform(folded, conditioners=mode))
    names = [f"{PATH}/conv1:0", f"{PATH}/conv1/add_edge:0"]
    shown = _run(with_outputs(model, names), {"x": _images(folded, 4)})
    table = -_weights(_graph(folded, "encoder"))[f"{PATH}/conv1/minus_edge"][0]
    narrow = table if mode == "tf32" else round_values(table, mode)
    exact = shown[names[0]] + edge_map(narrow, 8, 8)
    assert np.array_equal(shown[names[1]], exact if mode == "tf32" else round_values(exact, mode))
    if mode != "tf32":
        assert not np.array_equal(narrow, table)
        assert not np.array_equal(shown[names[1]], exact)


@pytest.mark.parametrize("mode", ["tf32", "fp16", "bf16"])
@pytest.mark.parametrize("where", ["conditioners", "trunk"])
def test_operands_are_rounded_and_products_added_in_float32(mode, where, square):
    rounding = Rounding.uniform(square, **{where: mode})
    name, source = (
        (f"{PATH}/conv2", f"{PATH}/relu1:0")
        if where == "conditioners"
        else ("level1/step02/invconv", "level1/step01/out")
    )
    exact = f"{name}:0" if mode == "tf32" else f"{name}:0/exact"
    shown = _run(
        with_outputs(simulated_graph(_graph(square, "encoder"), rounding), [source, exact]), {"x": _images(square, 8)}
    )
    weights = _weights(_graph(square, "encoder"))
    operands = [shown[source], weights[f"{name}/weight"], weights[f"{name}/bias"]]
    doubled = [torch.tensor(round_values(values, mode)).double() for values in operands]
    if mode == "tf32":
        doubled[2] = torch.tensor(operands[2]).double()
    expected = F.conv2d(*doubled).numpy()
    assert _rms(shown[exact] - expected) < 4 * UNIT_ROUNDOFF["fp32"] * _rms(expected)
    # Had one operand not been rounded, it would show.
    for index in (0, 1):
        missing = [*doubled]
        missing[index] = torch.tensor(operands[index]).double()
        if not np.array_equal(missing[index].numpy(), doubled[index].numpy()):
            assert _rms(shown[exact] - F.conv2d(*missing).numpy()) > 100 * UNIT_ROUNDOFF["fp32"] * _rms(expected)


@pytest.mark.parametrize("mode", ["tf32", "fp16", "bf16"])
def test_onnxruntime_leaves_the_roundings_in(mode, square):
    """Its optimiser removes pairs of casts that lose nothing, and must not take these for such."""
    names = ["level1/step02/out", f"level1/step02/out/{mode}"]
    model = with_outputs(simulated_graph(_graph(square, "encoder"), Rounding.uniform(square, trunk=mode)), names[:1])
    if mode != "tf32":
        model = with_outputs(model, ["level1/step02/coupling/apply:0/exact", "level1/step02/coupling/apply:0"])
        names = ["level1/step02/coupling/apply:0/exact", "level1/step02/coupling/apply:0"]
    else:
        model = with_outputs(model, names)
    shown = _run(model, {"x": _images(square, 16)})
    assert np.array_equal(shown[names[1]], round_values(shown[names[0]], mode))
    assert not np.array_equal(shown[names[1]], shown[names[0]])


@pytest.mark.parametrize("name", ["mixed", "auto", "fp16"])
def test_real_graphs_err_no_more_than_the_simulation_says(name, folded):
    """Against float32, thousands of times closer. ONNX Runtime leaves roundings out, so real ones may err less."""
    plan = (
        PrecisionPlan.auto(folded, narrow=["level1/step02"]) if name == "auto" else PrecisionPlan.uniform(name, folded)
    )
    x, labels = _images(folded, 5), {} if folded.num_classes is None else {"y": np.arange(5) % 3}
    exact = _run(_graph(folded, "encoder"), {"x": x, **labels})
    encoder, decoder = open_simulated(folded, plan, threads=1)
    with encoder, decoder:
        simulated = encoder.run({"x": x, **labels})
        z = {key: value for key, value in exact.items() if key != "log_prob"}
        simulated_x = decoder.run({**z, **labels})["x"]
    real = _run(_graph(folded, "encoder", plan), {"x": x, **labels})
    real_x = _run(_graph(folded, "decoder", plan), {**z, **labels})["x"]
    predicted, obtained = (
        _rms(np.concatenate([(latents[key] - value).ravel() for key, value in z.items()]))
        for latents in (simulated, real)
    )
    assert 0.2 * predicted < obtained < 2 * predicted
    predicted = _rms(simulated_x - x)
    assert 0.2 * predicted < _rms(real_x - x) < 2 * predicted


@pytest.mark.parametrize("mode", ["tf32", "fp16", "bf16"])
def test_errors_grow_with_what_is_rounded(mode, folded):
    errors = {}
    for name, trunk, number in (("fp32", "fp32", "fp32"), ("conditioners", "fp32", mode), ("everything", mode, mode)):
        encoder, decoder = open_simulated(folded, Rounding.uniform(folded, conditioners=number, trunk=trunk), threads=1)
        assert encoder.details.precision == f"simulated: conditioners {number}, trunk {trunk}"
        with encoder, decoder:
            differences = []
            for batch in (1, 3, 4):
                x = _images(folded, batch, seed=batch)
                labels = {} if folded.num_classes is None else {"y": np.arange(batch) % folded.num_classes}
                encoded = encoder.run({"x": x, **labels})
                z = {key: value for key, value in encoded.items() if key != "log_prob"}
                differences.append(decoder.run({**z, **labels})["x"] - x)
        errors[name] = _rms(np.concatenate(differences))
    assert errors["fp32"] < 3e-6
    # A decoder that meets the very same conditioner input cancels its rounding, so only upper bounds hold for mixed.
    assert errors["conditioners"] < 20 * UNIT_ROUNDOFF[mode]
    assert 0.2 * UNIT_ROUNDOFF[mode] < errors["everything"] < 100 * UNIT_ROUNDOFF[mode]
    assert errors["everything"] > 3 * errors["conditioners"]


@pytest.mark.parametrize("name", ["mixed", "bf16-mixed", "fp16", "auto"])
def test_a_narrow_graph_and_the_float32_graph_it_comes_from_are_simulated_alike(name, folded):
    plan = (
        PrecisionPlan.auto(folded, narrow=["level1/step02"]) if name == "auto" else PrecisionPlan.uniform(name, folded)
    )
    x, labels = _images(folded, 3), {} if folded.num_classes is None else {"y": np.arange(3)}
    results = []
    for graphs, rounding in (
        ({role: _graph(folded, role, plan) for role in BUILD}, None),
        ({role: _graph(folded, role) for role in BUILD}, plan),
        (folded, Rounding.of(plan)),
    ):
        encoder, decoder = open_simulated(graphs, rounding, threads=1)
        with encoder, decoder:
            encoded = encoder.run({"x": x, **labels})
            z = {key: value for key, value in encoded.items() if key != "log_prob"}
            results.append({**encoded, **decoder.run({**z, **labels})})
    for other in results[1:]:
        assert list(other) == list(results[0])
        for key, value in results[0].items():
            assert np.array_equal(other[key], value), key


@pytest.mark.parametrize("role", BUILD)
def test_a_simulated_graph_is_sound_and_leaves_the_original_alone(role, square):
    model = _graph(square, role)
    before = model.SerializeToString(deterministic=True)
    mixture = {"level1/step01": "tf32", "level1/step02": "fp16", "level1/step03": "bf16"}
    mixture |= {path.replace("level1", "level2"): mode for path, mode in mixture.items()}
    for trunk in ("fp32", "tf32", "fp16", "bf16"):
        result = simulated_graph(model, Rounding(trunk=trunk, conditioners=mixture))
        onnx.checker.check_model(result, full_check=True)
        lint_model(result, source=role)
        names = [node.name for node in result.graph.node]
        assert len(set(names)) == len(names)
        used = {name for node in result.graph.node for name in node.input}
        assert {tensor.name for tensor in result.graph.initializer} <= used
    assert model.SerializeToString(deterministic=True) == before


def test_only_the_steps_named_are_rounded(square):
    path = "level2/step02"
    rounding = Rounding(trunk="fp32", conditioners={**Rounding.uniform(square).conditioners, path: "fp16"})
    before = [f"level1/step{number:02d}/out" for number in (1, 2, 3)] + ["level2/step01/out"]
    after = [f"{path}/out", "level2/step03/out"]
    feeds = {"x": _images(square, 4)}
    plain = _run(
        with_outputs(simulated_graph(_graph(square, "encoder"), Rounding.uniform(square)), before + after), feeds
    )
    rounded = _run(with_outputs(simulated_graph(_graph(square, "encoder"), rounding), before + after), feeds)
    for name in before:
        assert np.array_equal(plain[name], rounded[name]), name
    for name in after:
        assert not np.array_equal(plain[name], rounded[name]), name


def test_log_probabilities_are_summed_in_float32(square):
    """A sum in float16 would be off by 1 in 2000."""
    x = _images(square, 4)
    obtained = {}
    for trunk in ("fp32", "fp16"):
        encoder, _ = open_simulated(square, Rounding.uniform(square, conditioners=trunk, trunk=trunk))
        obtained[trunk] = encoder.run({"x": x})["log_prob"].astype(np.float64)
    graph = simulated_graph(_graph(square, "encoder"), PrecisionPlan.uniform("fp16", square))
    casts = {node.name for node in graph.graph.node if node.op_type == "Cast"}
    assert not any("log_det" in name or "log_prob" in name for name in casts)
    assert np.abs(obtained["fp16"] - obtained["fp32"]).max() < 0.02 * np.abs(obtained["fp32"]).max()


def test_onnxruntime_on_the_cpu_does_not_round_what_a_mixed_graph_says(square):
    """Why mixed graphs are judged on the simulation there.

    It computes their convolutions in float32 and leaves out the casts between them, even with all optimisations off:
    the round trip looks like float32's, while the latents are as far off as the rounded weights make them.
    """
    x = _images(square, 8)
    plan = PrecisionPlan.uniform("mixed", square)
    real = _run(_graph(square, "encoder", plan), {"x": x})
    z = {key: value for key, value in real.items() if key != "log_prob"}
    real_error = _rms(_run(_graph(square, "decoder", plan), z)["x"] - x)
    encoder, decoder = open_simulated(square, plan)
    simulated = encoder.run({"x": x})
    simulated_error = _rms(decoder.run({key: value for key, value in simulated.items() if key != "log_prob"})["x"] - x)
    wide = _run(_graph(square, "encoder"), {"x": x})
    assert real_error < 0.1 * simulated_error
    assert _rms(real["z2"] - wide["z2"]) > 0.1 * _rms(simulated["z2"] - wide["z2"])


def test_roundings_that_cannot_be_simulated_are_refused(square):
    mixed = _graph(square, "encoder", PrecisionPlan.uniform("mixed", square))
    with pytest.raises(UsageError, match="has lost the float32 weights"):
        simulated_graph(mixed, Rounding.uniform(square, conditioners="tf32"))
    with pytest.raises(UsageError, match="for another model"):
        simulated_graph(_graph(square, "encoder"), Rounding.uniform(["level1/step01"], conditioners="tf32"))
