"""The graphs against the reference, which shares no code with them, in every runtime: equality, and what breaks it."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from exact_models import feeds_of, make_of, ort_run, pictures, torch_run
from onnx import numpy_helper

from glow_deploy.engines.exact import like_others
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.engines.open import open_graph
from glow_deploy.errors import EngineError
from glow_deploy.verify.backends.backend import Backend
from glow_deploy.verify.matrix.integers import compare_integers, exact_failures


def images(made, count=7):
    x = pictures(made.folded.image_shape, made.folded.n_bits, count, seed=5)
    generator = np.random.default_rng(6)
    x[1] = generator.random(x[1].shape).astype(np.float32)
    y = None if made.folded.num_classes is None else (np.arange(count) % made.folded.num_classes).astype(np.int64)
    return x, y


def on_the_grid(made, x):
    bits = made.built.model.grid_bits
    return np.floor(x.astype(np.float64) * 2.0**bits) / 2.0**bits


def openvino_run(model, feeds):
    pytest.importorskip("openvino", reason="OpenVINO is the extra `openvino`")
    try:
        engine = open_graph(model.SerializeToString(), backend="openvino-cpu")
    except EngineError as error:
        if "float16 convolutions" not in str(error):
            raise
        pytest.skip(f"this CPU has no float16 convolution: {error}")
    with engine:
        return engine.run({name: np.asarray(array) for name, array in feeds.items()})


RUNTIMES = {"onnxruntime": ort_run, "openvino": openvino_run, "torch": torch_run}


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_every_runtime_gives_the_bits_of_the_reference(made, runtime):
    check_runtime(made, RUNTIMES[runtime])


def test_openvino_gives_the_bits_of_the_reference(rgb):
    check_runtime(rgb, RUNTIMES["openvino"])


def check_runtime(made, run):
    x, y = images(made)
    wanted = made.run.encode(x, y)
    found = run(made.encoder.to_model(), {"x": x} if y is None else {"x": x, "y": y})
    np.testing.assert_array_equal(found["in_range"], wanted.in_range)
    assert wanted.in_range.all()
    for level, (z, normal) in enumerate(zip(wanted.z, wanted.normal, strict=True), start=1):
        np.testing.assert_array_equal(found[f"z{level}"], z)
        np.testing.assert_allclose(found[f"normal{level}"], normal, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(found["log_prob"], wanted.log_prob, rtol=1e-5)
    normal = [found[f"normal{level}"] for level in range(1, len(wanted.z) + 1)]
    for z, as_normal in ((wanted.z, False), (normal, True)):
        back = run(made.decoder.to_model(), feeds_of(z, normal=as_normal, y=y))
        np.testing.assert_array_equal(back["x"], on_the_grid(made, x))
        np.testing.assert_array_equal(back["in_range"], np.ones(len(x)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_batch_size_changes_a_bit(rgb, count):
    x, _ = images(rgb)
    wanted = rgb.run.encode(x)
    found = ort_run(rgb.encoder.to_model(), {"x": x[:count]})
    for level, z in enumerate(wanted.z, start=1):
        np.testing.assert_array_equal(found[f"z{level}"], z[:count])


def test_an_image_out_of_range_is_flagged_by_the_graph(rgb):
    x, _ = images(rgb)
    x[2] += 2.0 * rgb.built.model.limit / 2**rgb.built.model.grid_bits
    found = ort_run(rgb.encoder.to_model(), {"x": x})
    np.testing.assert_array_equal(found["in_range"], [1, 1, 0, 1, 1, 1, 1])
    z = [
        np.where(np.arange(7)[:, None, None, None] == 4, 2.0**22, 0) * np.ones((7, *s))
        for s in rgb.built.model.latent_shapes
    ]
    back = ort_run(rgb.decoder.to_model(), feeds_of(z, normal=False))
    np.testing.assert_array_equal(back["in_range"], [1, 1, 1, 1, 0, 1, 1])


def change_weight(model, name, change):
    """Change the largest entry of an initializer."""
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    values = numpy_helper.to_array(tensor).copy()
    place = np.unravel_index(np.argmax(np.abs(values)), values.shape)
    values[place] = change(values[place])
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def smallest_step(model, name):
    """One integer of an initializer's row is the same power of two everywhere: the largest that divides its entries."""
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    values = numpy_helper.to_array(tensor).astype(np.float64)
    row = values[np.unravel_index(np.argmax(np.abs(values)), values.shape)[0]]
    step = 1.0
    while (np.round(row / step) != row / step).any():
        step /= 2
    return step


def change_op(model, name, op):
    next(node for node in model.graph.node if node.name == name).op_type = op


def drop_limb(model, name):
    """Make the low limb 0."""
    node = next(node for node in model.graph.node if node.name == name)
    node.input[1] = node.input[0]


SHEAR, CONV = "level1/step02/invconv/shear3/weight", "level1/step02/coupling/conv3/weight"


def one_more(model, name):
    step = smallest_step(model, name)
    change_weight(model, name, lambda value: value + step)


FAULTS = {
    "a conditioner's weight off by one integer": lambda model: one_more(model, CONV),
    "a shear's weight off by one integer": lambda model: one_more(model, SHEAR),
    "a shift off by one": lambda model: change_weight(model, SHEAR, lambda value: 2 * value),
    "floor for round": lambda model: change_op(model, "level1/step02/invconv/shear2/limb", "Floor"),
    "another rounding of a sum": lambda model: change_op(model, "level1/step02/coupling/round3", "Floor"),
    "a limb dropped": lambda model: drop_limb(model, "level1/step02/invconv/shear2/low"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_changes_integers(rgb, fault):
    x, _ = images(rgb)
    model = rgb.encoder.to_model()
    FAULTS[fault](model)
    found = ort_run(model, {"x": x})
    wanted = rgb.run.encode(x)
    assert sum(int((found[f"z{level}"] != z).sum()) for level, z in enumerate(wanted.z, start=1)) > 0
    report = judged(rgb, model)
    assert {row.what for row in report.rows if row.differing} == {"integers", "pixels"}
    assert "differing integers" in [failure.gate.quantity for failure in exact_failures(report)]


def test_without_a_fault_nothing_differs(rgb):
    report = judged(rgb, rgb.encoder.to_model())
    assert [row.differing for row in report.rows] == [0, 0, 0]
    assert not exact_failures(report)


def judged(made, encoder):
    """What `verify` makes of an encoder graph beside the right decoder, on images at bin centres, noise among them."""
    x = pictures(made.folded.image_shape, made.folded.n_bits, 12, seed=5)
    bins = 2**made.folded.n_bits
    x[4:] = (np.random.default_rng(6).integers(0, bins, x[4:].shape) + 0.5) / bins
    engines = [like_others(open_onnx(model.SerializeToString())) for model in (encoder, made.decoder.to_model())]
    backend = Backend(name="onnxruntime-cpu", encoder=engines[0], decoder=engines[1])
    batch = SimpleNamespace(x=x, y=None, first=0)
    source = SimpleNamespace(name="golden", batches=lambda count: iter([batch]))
    return compare_integers([backend], [source], made.run.encode(x).z, batch=12)


def narrow_output(x, weight, bias=None, *, padding, groups):
    """A convolution whose result leaves it in bfloat16."""
    import torch

    whole = torch.nn.functional.conv2d(x, weight, bias, padding=padding, groups=groups)
    return whole.to(torch.bfloat16).to(torch.float32)


def narrow_sums(x, weight, bias=None, *, padding, groups):
    """A convolution that adds up in float16."""
    import torch

    return torch.nn.functional.conv2d(
        x.half(), weight.half(), None if bias is None else bias.half(), padding=padding, groups=groups
    ).float()


def tf32_operands(x, weight, bias=None, *, padding, groups):
    """A convolution whose operands are rounded to TF32, and whose sums are float32."""
    import torch

    from glow_deploy.graphs.rounding import round_values

    narrow = [torch.from_numpy(round_values(part.numpy(), "tf32").copy()) for part in (x, weight)]
    return torch.nn.functional.conv2d(*narrow, bias, padding=padding, groups=groups)


@pytest.mark.parametrize("arithmetic", [narrow_output, narrow_sums])
def test_arithmetic_that_is_not_exact_is_seen(rgb, arithmetic):
    x, _ = images(rgb)
    found = torch_run(rgb.encoder.to_model(), {"x": x}, conv=arithmetic)
    wanted = rgb.run.encode(x)
    assert not all(np.array_equal(found[f"z{level}"], z) for level, z in enumerate(wanted.z, start=1))


def test_tf32_gives_the_same_bits(made):
    """Every operand has eleven bits at most."""
    x, y = images(made)
    found = torch_run(made.encoder.to_model(), {"x": x} if y is None else {"x": x, "y": y}, conv=tf32_operands)
    for level, z in enumerate(made.run.encode(x, y).z, start=1):
        np.testing.assert_array_equal(found[f"z{level}"], z)


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_carried_graphs_round_hidden_sums_as_the_reference_does(narrow, runtime):
    check_runtime(narrow, RUNTIMES[runtime])


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_convolutions_in_16_bit_give_the_same_bits(narrow, runtime):
    """Native where the CPU has them; elsewhere bfloat16 is widened, and rounded as its types say."""
    encoder, decoder = narrow.native()
    run = RUNTIMES[runtime]
    x, _ = images(narrow)
    wanted = narrow.run.encode(x)
    found = run(encoder, {"x": x})
    for level, z in enumerate(wanted.z, start=1):
        np.testing.assert_array_equal(found[f"z{level}"], z)
    back = run(decoder, feeds_of(wanted.z, normal=False))
    np.testing.assert_array_equal(back["x"], on_the_grid(narrow, x))


def test_openvino_that_widens_float16_is_refused(narrow, monkeypatch):
    """On a CPU without float16 instructions: no result of a convolution would be rounded."""
    pytest.importorskip("openvino", reason="OpenVINO is the extra `openvino`")
    model = narrow.native()[0]
    monkeypatch.setattr("glow_deploy.engines.openvino._formats", lambda compiled: Counter(f32=30))
    if narrow.built.model.narrow == "bf16":
        open_graph(model.SerializeToString(), backend="openvino-cpu").close()
        return
    with pytest.raises(EngineError, match=r"computes 0 of the \d+ float16 convolutions.*--native fp16-carried"):
        open_graph(model.SerializeToString(), backend="openvino-cpu")


def test_a_fault_in_16_bit_changes_integers(narrow):
    """A weight, a plane of ones, and a convolution that gives its sum in float32."""
    x, _ = images(narrow)
    wanted = narrow.run.encode(x).z
    path = "level1/step02/coupling/conv1"
    names = [f"{path}/weight"]
    if narrow.built.model.levels[0].steps[1].conditioner.conv1.edge is not None:
        names.append(f"{path}/planes/value")
    for name in (*names, ""):
        model = narrow.native()[0]
        if name:
            change_weight(model, name, lambda value: 2 * value)
        conv = None if name else unrounded
        found = torch_run(model, {"x": x}, conv=conv)
        assert sum(int((found[f"z{level}"] != z).sum()) for level, z in enumerate(wanted, start=1)) > 0, name


def unrounded(x, weight, bias=None, *, padding, groups):
    """A convolution of 16-bit numbers whose result is float32."""
    import torch

    return torch.nn.functional.conv2d(
        x.float(), weight.float(), bias.float() if bias is not None else None, padding=padding, groups=groups
    )


def test_rounding_hidden_sums_is_another_model(narrow):
    """So the tests above can fail."""
    x, _ = images(narrow)
    bits = narrow.built.model.levels[0].steps[0].conditioner.largest.bit_length()
    plain = make_of(narrow.folded, levels=narrow.levels, bits=bits)
    pairs = zip(narrow.run.encode(x).z, plain.run.encode(x).z, strict=True)
    assert sum(int((a != b).sum()) for a, b in pairs) > 0


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_is_no_number_is_never_in_range(rgb, runtime):
    """Wherever it stands: some runtimes' maximum leaves it out at one place and not at another."""
    x = pictures(rgb.folded.image_shape, rgb.folded.n_bits, 10)
    z = [np.zeros((10, *shape)) for shape in rgb.built.model.latent_shapes]
    cases = [(value, place) for value in (np.nan, np.inf, -np.inf) for place in (0, 7, -1)]
    for row, (value, place) in enumerate(cases):
        x[row].flat[place] = z[0][row].flat[place] = value
    wanted = [0.0] * 9 + [1.0]
    run = RUNTIMES[runtime]
    np.testing.assert_array_equal(run(rgb.encoder.to_model(), {"x": x})["in_range"], wanted)
    for normal in (False, True):
        feeds = feeds_of(z, normal=normal)
        np.testing.assert_array_equal(run(rgb.decoder.to_model(), feeds)["in_range"], wanted)
