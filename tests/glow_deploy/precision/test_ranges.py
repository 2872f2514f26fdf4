import dataclasses
import json
import math

import numpy as np
import pytest

from glow_core import GlowConfig
from glow_deploy.artifact.taps import with_outputs
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.errors import UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.serialize import serialize
from glow_deploy.precision import ranges
from glow_deploy.precision.ranges import RangeReport, TensorRange, measure_ranges
from glow_deploy.precision.simulate import float32_graphs, open_simulated

PATH = "level1/step02"


@pytest.fixture(scope="module")
def folded(perturbed_glow):
    return fold(perturbed_glow(GlowConfig(image_size=(8, 4), levels=2, steps=2, width=8, num_classes=3)))


def _images(folded, count):
    x = np.random.default_rng(0).random((count, *folded.image_shape), dtype=np.float32)
    return x, np.arange(count) % folded.num_classes


def _scaled(folded, factor):
    """The same function, with the hidden activations of one step larger: conv1 up, and conv2's inputs down again."""
    first, second = folded.levels[0].steps
    net = second.conditioner
    conv1 = dataclasses.replace(net.conv1, weight=net.conv1.weight * factor, bias=net.conv1.bias * factor)
    conv2 = dataclasses.replace(net.conv2, weight=net.conv2.weight / factor)
    step = dataclasses.replace(second, conditioner=dataclasses.replace(net, conv1=conv1, conv2=conv2))
    level = dataclasses.replace(folded.levels[0], steps=(first, step))
    return dataclasses.replace(folded, levels=(level, *folded.levels[1:]))


def _named(report):
    return {tensor.name: tensor for tensor in report.tensors}


def test_the_largest_values_are_those_of_both_graphs(folded):
    x, y = _images(folded, 5)
    report = measure_ranges(float32_graphs(folded), PrecisionPlan.uniform("mixed", folded), x, y)
    names = [f"{PATH}/coupling/{part}" for part in ("split:0", "conv1:0", "conv2:0", "conv3:0")]
    encoder, decoder = open_simulated(folded, PrecisionPlan.uniform("fp32", folded), threads=1)
    with encoder, decoder:
        z = encoder.run({"x": x, "y": y})
        del z["log_prob"]
    largest = dict.fromkeys(names, 0.0)
    import onnxruntime

    for graph, feeds in zip(float32_graphs(folded).values(), ({"x": x, "y": y}, {**z, "y": y}), strict=True):
        data = with_outputs(graph, names).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for name, values in zip(names, session.run(names, feeds), strict=True):
            largest[name] = max(largest[name], float(np.abs(values).max()))
    found = _named(report)
    for name in names:
        assert found[name].largest == pytest.approx(largest[name], rel=1e-5), name
        assert found[name].headroom_bits == pytest.approx(math.log2(65504 / largest[name]), abs=1e-3)
    weight = folded.levels[0].steps[1].conditioner.conv3.weight
    assert found[f"{PATH}/coupling/conv3/weight"].largest == pytest.approx(np.abs(weight).max())
    assert report.problems() == ()
    assert set(report.headroom_of_steps()) == {f"level{level}/step{step:02d}" for level in (1, 2) for step in (1, 2)}


@pytest.mark.parametrize("name", ["fp32", "auto", "mixed", "fp16"])
def test_what_is_narrow_is_looked_at_and_nothing_else(name, folded):
    plan = PrecisionPlan.auto(folded, narrow=[PATH]) if name == "auto" else PrecisionPlan.uniform(name, folded)
    x, y = _images(folded, 2)
    names = set(_named(measure_ranges(float32_graphs(folded), plan, x, y)))
    parts = {"split:0", *(f"conv{n}{end}" for n in (1, 2, 3) for end in (":0", "/weight", "/bias"))}
    inside = {f"{path}/coupling/{part}" for path in plan.narrow for part in parts}
    assert inside <= names
    if name != "fp16":
        assert names == inside
        return
    assert {"x", "z1", "z2", "prior/mean", f"{PATH}/invconv/weight", f"{PATH}/out", "level1/split/conv:0"} <= names
    assert not any("log_det" in name or "log_prob" in name for name in names)
    assert not {"y", "constants/axes", "log_prob"} & names


@pytest.mark.parametrize("name", ["mixed", "fp16"])
def test_edges_and_independent_priors_are_looked_at(name, perturbed_glow):
    config = GlowConfig(
        image_size=(16, 8), levels=2, steps=2, width=8, num_classes=3, edge_bias=True, prior="independent"
    )
    folded = fold(perturbed_glow(config))
    found = _named(measure_ranges(float32_graphs(folded), PrecisionPlan.uniform(name, folded), *_images(folded, 3)))
    edge = folded.levels[0].steps[1].conditioner.conv1.edge
    assert found[f"{PATH}/coupling/conv1/minus_edge"].largest == pytest.approx(np.abs(edge).max())
    assert found[f"{PATH}/coupling/conv1/add_edge:0"].largest > found[f"{PATH}/coupling/conv1/minus_edge"].largest
    # An edge spread over the image has no value that its table does not have.
    assert not [tensor for tensor in found if "/minus_edge/" in tensor or "edge_index" in tensor]
    priors = {"level1/split/mean", "level1/split/scale", "level1/split/inverse_scale", "level1/split/centre:0"}
    assert priors <= set(found) if name == "fp16" else not priors & set(found)


def test_an_edge_beyond_float16_is_foretold(perturbed_glow):
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 8), levels=1, steps=2, width=8, edge_bias=True)))
    first, second = folded.levels[0].steps
    net = second.conditioner
    conv1 = dataclasses.replace(net.conv1, edge=net.conv1.edge * np.float32(40000 / np.abs(net.conv1.edge).max()))
    step = dataclasses.replace(second, conditioner=dataclasses.replace(net, conv1=conv1))
    grown = dataclasses.replace(folded, levels=(dataclasses.replace(folded.levels[0], steps=(first, step)),))
    x = np.random.default_rng(0).random((2, *folded.image_shape), dtype=np.float32)
    report = measure_ranges(float32_graphs(grown), PrecisionPlan.uniform("mixed", grown), x)
    assert f"{PATH}/coupling/conv1/minus_edge reaches 4e+04" in " ".join(report.problems())


def test_values_beyond_float16_are_foretold(folded):
    """What the check says of the float32 graph is what the simulated float16 graph does."""
    x, y = _images(folded, 3)
    plan = PrecisionPlan.uniform("mixed", folded)
    largest = _named(measure_ranges(float32_graphs(folded), plan, x, y))[f"{PATH}/coupling/conv1:0"].largest
    for share, finite in ((0.9, True), (2.0, False)):
        grown = _scaled(folded, share * 65504 / largest)
        report = measure_ranges(float32_graphs(grown), plan, x, y)
        assert report.worst.name == f"{PATH}/coupling/conv1:0"
        assert report.headroom_of_steps()[PATH] == pytest.approx(-math.log2(share), abs=0.01)
        problem, *_ = report.problems()
        assert problem.startswith(f"{PATH}/coupling/conv1:0 reaches ")
        assert ("overflows" in problem) is not finite
        encoder, _ = open_simulated(grown, plan, threads=1)
        with encoder:
            assert bool(np.isfinite(encoder.run({"x": x, "y": y})["z1"]).all()) is finite
        keep = PrecisionPlan.auto(grown, narrow=[path for path in plan.conditioners if path != PATH])
        assert measure_ranges(float32_graphs(grown), keep, x, y).problems() == ()
        assert measure_ranges(float32_graphs(grown), PrecisionPlan.uniform("bf16-mixed", grown), x, y).problems() == ()


def test_values_that_lose_digits_are_counted(folded):
    x, y = _images(folded, 3)
    plan = PrecisionPlan.uniform("mixed", folded)
    name = f"{PATH}/coupling/conv1:0"
    plain = _named(measure_ranges(float32_graphs(folded), plan, x, y))[name]
    tiny = _named(measure_ranges(float32_graphs(_scaled(folded, 2.0**-14 / plain.largest)), plan, x, y))[name]
    assert plain.subnormal_share < 0.01
    assert tiny.subnormal_share > 0.9


def test_further_latents_are_decoded(folded):
    x, y = _images(folded, 2)
    plan = PrecisionPlan.uniform("mixed", folded)
    shapes = {f"z{level}": shape for level, shape in enumerate(folded.latent_shapes, start=1)}
    far = {name: np.full((3, *shape), 30.0, np.float32) for name, shape in shapes.items()}
    near, report = (
        measure_ranges(float32_graphs(folded), plan, x, y, latents=latents)
        for latents in (None, {**far, "y": np.zeros(3, np.int64)})
    )
    assert (near.latents, report.latents, report.images) == (0, 3, 2)
    name = f"{PATH}/coupling/split:0"
    assert _named(report)[name].largest > 3 * _named(near)[name].largest


def test_small_batches_give_the_same_figures(folded, monkeypatch):
    x, y = _images(folded, 5)
    plan = PrecisionPlan.uniform("fp16", folded)
    whole = measure_ranges(float32_graphs(folded), plan, x, y)
    monkeypatch.setattr(ranges, "_BATCH_BYTES", 1)
    single = measure_ranges(float32_graphs(folded), plan, x, y)
    assert [tensor.name for tensor in single.tensors] == [tensor.name for tensor in whole.tensors]
    for one, other in zip(single.tensors, whole.tensors, strict=True):
        assert one.largest == pytest.approx(other.largest, rel=1e-4), one.name


def test_values_that_are_not_finite_come_first(folded):
    x, y = _images(folded, 2)
    x[1, 0, 0, 0] = np.nan
    report = measure_ranges(float32_graphs(folded), PrecisionPlan.uniform("fp16", folded), x, y)
    assert _named(report)["x"].non_finite == 1
    assert _named(report)["x"].largest <= 1
    assert "not finite in float32 already" in report.problems()[0]


def test_a_report_is_plain_json():
    rows = (
        TensorRange(name="a", number="fp16", largest=0.0, subnormal_share=0.0, non_finite=0),
        TensorRange(name="b", number="fp16", largest=32752.0, subnormal_share=0.5, non_finite=0),
        TensorRange(name="c", number="fp16", largest=131008.0, subnormal_share=0.0, non_finite=0),
    )
    report = RangeReport(images=4, latents=0, tensors=rows)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [row["headroom_bits"] for row in values["tensors"]] == [None, 1.0, -1.0]
    assert [text.split()[0] for text in report.problems()] == ["c", "b"]
    assert [text.split()[0] for text in report.problems(min_bits=0.5)] == ["c"]
    assert report.worst == rows[2]
    assert RangeReport(images=4, latents=0, tensors=()).worst is None


def test_wrong_questions_are_refused(folded):
    x, y = _images(folded, 2)
    plan = PrecisionPlan.uniform("mixed", folded)
    graphs = float32_graphs(folded)
    with pytest.raises(UsageError, match="another model"):
        measure_ranges(graphs, PrecisionPlan.uniform("mixed", [PATH]), x, y)
    with pytest.raises(UsageError, match="there is none"):
        measure_ranges(graphs, plan, x[:0], y[:0])
    facts = describe(folded, role="encoder", precision="mixed", model_id="1" * 64)
    mixed = build_encoder(folded, metadata=facts, plan=plan)
    assert open_onnx(serialize(mixed), device="cpu").role == "encoder"
    with pytest.raises(UsageError, match="measured on float32 graphs"):
        measure_ranges({**graphs, "encoder": mixed.to_model()}, plan, x, y)
