"""OpenVINO held to float32, against float64 and ONNX Runtime; and what it does when it is left to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from glow_deploy.artifact import graph_file
from glow_deploy.canary import canary_for, make_canary
from glow_deploy.canary.graph import canary_graph
from glow_deploy.engines import open_engine
from glow_deploy.engines import openvino as engine_module
from glow_deploy.engines.open import open_graph
from glow_deploy.engines.openvino import OpenVinoEngine, openvino_devices
from glow_deploy.engines.pair import open_pair
from glow_deploy.engines.trial import try_graph
from glow_deploy.errors import BundleError, EngineError, MissingDependencyError, UsageError

openvino = pytest.importorskip("openvino", reason="these tests run OpenVINO")
glow_core = pytest.importorskip("glow_core")

CONFIGS = {
    "affine": {"image_size": (8, 8), "levels": 2, "steps": 3, "width": 12, "n_bits": 5},
    "additive": {"image_size": (8, 8), "levels": 2, "steps": 2, "width": 8, "coupling": "additive"},
    "grey, not square": {"image_size": (4, 12), "channels": 1, "levels": 1, "steps": 2, "width": 8},
    "three levels": {"image_size": (16, 24), "levels": 3, "steps": 1, "width": 8},
    "classes": {"image_size": (8, 8), "levels": 2, "steps": 2, "width": 8, "num_classes": 3},
}
ROUNDING = 2e-5  # of latents and pixels of unit size, after a few steps in float32; bfloat16 errs by 1e-2


def bfloat16_by_default():
    """What OpenVINO takes by itself here, in words; empty where that is bfloat16."""
    compiled = openvino.Core().compile_model(openvino.Core().read_model(canary_graph(make_canary())), "CPU", {})
    given = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return "" if given == "bf16" else f"OpenVINO's default on this CPU is {given}, for it has no bfloat16 instructions"


def need_bfloat16():
    reason = bfloat16_by_default()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, perturbed_glow):
    """Export a perturbed model once; by the name of its configuration, and its precision."""
    from glow_deploy.export import ExportSettings, export

    folder, found = tmp_path_factory.mktemp("openvino"), {}

    def get(name, precision="fp32"):
        if (name, precision) not in found:
            place = folder / f"{len(found)}"
            ckpt = place.with_suffix(".pt")
            glow_core.save_checkpoint(perturbed_glow(glow_core.GlowConfig(**CONFIGS[name])), ckpt)
            settings = ExportSettings(golden=16, precision=precision)
            found[name, precision] = export(ckpt, out=place, settings=settings).path
        return found[name, precision]

    return get


def round_trip(bundle, batch, *, encode, decode):
    """Latents and pictures of `batch` images through the engines that two functions open, and the images."""
    with encode(bundle / "encoder.onnx") as encoder, decode(bundle / "decoder.onnx") as decoder:
        rng = np.random.default_rng(batch)
        feeds = {
            spec.name: rng.integers(0, 3, batch) if spec.name == "y" else rng.random((batch, *spec.shape), np.float32)
            for spec in encoder.inputs
        }
        outputs = encoder.run(feeds)
        labels = {"y": feeds["y"]} if "y" in feeds else {}
        z = {name: array for name, array in outputs.items() if name != "log_prob"}
        return feeds["x"], outputs, decoder.run({**z, **labels})["x"]


def on_ort(path):
    return open_engine(path, device="cpu")


def open_openvino(data, *, backend="openvino-cpu", **options):
    return open_graph(data, backend=backend, **options)


def on_openvino(path):
    return open_engine(path, backend="openvino-cpu")


def at_default(path):
    return open_engine(path, backend="openvino-cpu-default")


@pytest.mark.parametrize("batch", [1, 2, 3, 17])
def test_both_directions_agree_with_float64(tiny, batch):
    x = tiny.images(batch)
    with open_openvino(tiny.encoder().SerializeToString()) as encoder:
        result = encoder.run({"x": x})
    z, log_prob = tiny.expected(x)
    np.testing.assert_allclose(result["z1"], z, atol=1e-6)
    np.testing.assert_allclose(result["log_prob"], log_prob, atol=2e-6)
    with open_openvino(tiny.decoder().SerializeToString(), threads=1) as decoder:
        np.testing.assert_allclose(decoder.run({"z1": result["z1"]})["x"], x, atol=1e-6)


def test_the_comparison_notices_a_wrong_weight(tiny):
    model = tiny.encoder()
    weight = np.array(tiny.WEIGHT)[:, :, None, None]
    weight[0, 0] *= 1.01
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "weight"))
    x = tiny.images(3)
    with open_openvino(model.SerializeToString()) as engine:
        assert np.abs(engine.run({"x": x})["z1"] - tiny.expected(x)[0]).max() > 1e-4


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("batch", [1, 5])
def test_it_agrees_with_onnxruntime_to_rounding_and_either_decodes_what_the_other_encodes(exported, name, batch):
    bundle = exported(name)
    x, ours, back = round_trip(bundle, batch, encode=on_openvino, decode=on_openvino)
    _, theirs, crossed = round_trip(bundle, batch, encode=on_ort, decode=on_openvino)
    _, _, other_way = round_trip(bundle, batch, encode=on_openvino, decode=on_ort)
    for output, array in theirs.items():
        assert ours[output].dtype == np.float32
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(ours[output], array, atol=ROUNDING * scale, rtol=0, err_msg=output)
    for picture in (back, crossed, other_way):
        np.testing.assert_allclose(picture, x, atol=ROUNDING, rtol=0)


def test_at_its_default_it_is_far_from_that(exported):
    """The negative control of the test above: its limit tells float32 from bfloat16."""
    need_bfloat16()
    x, _, back = round_trip(exported("affine"), 5, encode=on_ort, decode=at_default)
    assert np.abs(back - x).max() > 50 * ROUNDING


def test_labels_choose_the_class_and_unknown_ones_are_refused(exported):
    bundle = exported("classes")
    with on_openvino(bundle / "decoder.onnx") as decoder:
        z = {spec.name: np.zeros((2, *spec.shape), np.float32) for spec in decoder.inputs if spec.name != "y"}
        first, second = decoder.run({**z, "y": np.array([0, 2])})["x"]
        assert np.abs(first - second).max() > 1e-3
        with pytest.raises(EngineError, match=r"labels y must lie in 0\.\.2, got 0\.\.3"):
            decoder.run({**z, "y": np.array([0, 3])})


def test_results_are_the_same_bits_each_time_and_in_a_new_engine(exported):
    bundle = exported("three levels")
    found = [round_trip(bundle, 6, encode=on_openvino, decode=on_openvino)[1:] for _ in range(2)]
    with on_openvino(bundle / "encoder.onnx") as encoder:
        x = np.random.default_rng(6).random((6, *encoder.inputs[0].shape), np.float32)
        runs = [encoder.run({"x": x}) for _ in range(3)]
        encoder.run({"x": x[:1]})  # another size between two runs changes nothing
        runs.append(encoder.run({"x": x}))
    for outputs in (*runs, found[1][0]):
        for name, array in found[0][0].items():
            np.testing.assert_array_equal(outputs[name], array)
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_outputs_are_the_callers_own(tiny):
    with open_openvino(tiny.encoder().SerializeToString()) as engine:
        first = engine.run({"x": tiny.images(2)})["z1"]
        kept = first.copy()
        engine.run({"x": tiny.images(2, seed=1)})
    np.testing.assert_array_equal(first, kept)


def test_a_large_batch_is_run_in_pieces_that_fit(tiny, monkeypatch):
    data, x = tiny.encoder().SerializeToString(), tiny.images(10)
    with open_openvino(data) as engine:
        whole = engine.run({"x": x})
    monkeypatch.setattr(graph_file, "MOST_RUN_VALUES", 4 * graph_file.read_graph(data, source="e").live)
    with open_openvino(data) as engine:
        given, run = [], engine._run
        monkeypatch.setattr(engine, "_run", lambda arrays, batch: given.append(batch) or run(arrays, batch))
        pieces = engine.run({"x": x})
    assert given == [4, 4, 2]
    for name, array in whole.items():
        np.testing.assert_allclose(pieces[name], array, rtol=1e-6, atol=1e-6)


def test_what_runs_is_described(tiny):
    with open_openvino(tiny.encoder().SerializeToString()) as engine:
        details = engine.details
        assert (details.backend, details.device, details.precision) == ("openvino-cpu", "cpu", "fp32")
        assert details.provider == "OpenVINO CPU at f32, all convolutions in f32"
        assert (details.tf32, details.max_batch) == (False, None)
        assert details.versions["openvino"].count(".") == 2
        assert [(spec.name, spec.shape) for spec in engine.outputs] == [("z1", (4, 2, 2)), ("log_prob", ())]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_honoured(tiny, monkeypatch, threads):
    asked = []
    core = openvino.Core

    class Recording:
        def __init__(self):
            self._core = core()

        def __getattr__(self, name):
            return getattr(self._core, name)

        def compile_model(self, model, device, settings):
            compiled = self._core.compile_model(model, device, settings)
            asked.append((settings, compiled.get_property("INFERENCE_NUM_THREADS")))
            return compiled

    monkeypatch.setattr(engine_module, "openvino_core", Recording)
    open_openvino(tiny.encoder().SerializeToString(), threads=threads).close()
    ((settings, used),) = asked
    assert settings["INFERENCE_NUM_THREADS"] == threads == used
    assert settings["INFERENCE_PRECISION_HINT"] == "f32"


def test_the_canary_says_float32_and_at_the_default_bfloat16():
    assert canary_for("openvino-cpu").text == "float32 (measured)"
    need_bfloat16()
    found = canary_for("openvino-cpu-default")
    assert (found.detected, found.text) == ("bf16", "bfloat16!")


class _Compiled:
    """A compiled model that was given another number format than was asked for."""

    def __init__(self, compiled, given):
        self._compiled, self._given = compiled, given

    def __getattr__(self, name):
        return getattr(self._compiled, name)

    def get_property(self, name):
        return self._given if name == "INFERENCE_PRECISION_HINT" else self._compiled.get_property(name)


@pytest.mark.parametrize("given", ["f16", "bf16"])
def test_a_device_that_takes_another_format_than_it_was_asked_for_is_refused(tiny, monkeypatch, given):
    real = openvino.Core

    class Core:
        available_devices = ("CPU",)

        def __getattr__(self, name):
            return getattr(real(), name)

        def compile_model(self, *arguments):
            return _Compiled(real().compile_model(*arguments), getattr(openvino.Type, given))

    monkeypatch.setattr(engine_module, "openvino_core", Core)
    with pytest.raises(EngineError, match=f"computes enc in {given} on its CPU, where f32 was asked for"):
        open_openvino(tiny.encoder().SerializeToString(), source="enc")
    open_openvino(tiny.encoder().SerializeToString(), backend="openvino-cpu-default").close()


def test_convolutions_that_run_in_another_format_are_refused_whatever_the_property_says(tiny, monkeypatch):
    from collections import Counter

    monkeypatch.setattr(engine_module, "_formats", lambda compiled: Counter(f32=3, bf16=1))
    with pytest.raises(EngineError, match="in f32 and bf16 on its CPU, where f32 was asked for"):
        open_openvino(tiny.encoder().SerializeToString())


def test_exact_graphs_run_where_float32_is_known_to_be_what_runs_and_nowhere_else(exported, monkeypatch):
    from collections import Counter

    encoder = exported("additive", "exact") / "encoder.onnx"
    with on_openvino(encoder) as engine:
        assert set(engine.integers._requests) == {None}  # for batches of any size
    with pytest.raises(EngineError, match="exact in float32 alone: run it on openvino-cpu"):
        at_default(encoder)
    monkeypatch.setattr(engine_module, "_formats", lambda compiled: Counter(f32=3, bf16=1))
    with pytest.raises(EngineError, match="in f32 and bf16 on its CPU, where f32 was asked for"):
        on_openvino(encoder)
    monkeypatch.setattr(engine_module, "_formats", lambda compiled: Counter())
    with pytest.raises(EngineError, match="does not tell in which format"):
        on_openvino(encoder)


def test_float16_convolutions_of_a_graph_run_in_float32_and_bfloat16_ones_where_the_cpu_has_them(exported):
    """What the graph types as 16 bit: measured by the formats that OpenVINO tells and by the errors themselves."""
    with on_openvino(exported("affine", "mixed") / "encoder.onnx") as mixed:
        assert mixed.details.provider.endswith("all convolutions in f32")
        assert mixed.details.precision == "mixed"
    need_bfloat16()
    with on_openvino(exported("affine", "bf16-mixed") / "encoder.onnx") as narrow:
        assert "in bf16" in narrow.details.provider
        assert "in f32" in narrow.details.provider  # the trunk


def errors(bundle, open_encoder, open_decoder):
    x, _, back = round_trip(bundle, 256, encode=open_encoder, decode=open_decoder)
    return float(np.sqrt(np.mean((back - x) ** 2)))


def test_errors_of_bfloat16_convolutions_are_of_the_size_that_the_simulation_gives(exported):
    need_bfloat16()
    from glow_deploy.artifact.lint import read_model
    from glow_deploy.precision.simulate import open_simulated

    bundle = exported("affine", "bf16-mixed")

    def simulated(path):
        role = path.stem
        pair = open_simulated({name: read_model(bundle / f"{name}.onnx") for name in ("encoder", "decoder")})
        return pair[0] if role == "encoder" else pair[1]

    def of_any_size(path):
        engine = on_openvino(path)
        engine._sizes = ()
        return engine

    real, expected, crossed, other_way = (
        errors(bundle, encode, decode)
        for encode, decode in (
            (on_openvino, on_openvino),
            (simulated, simulated),
            (simulated, on_openvino),
            (on_openvino, simulated),
        )
    )
    plain = errors(exported("affine"), on_openvino, on_openvino)
    # Few values straddle a rounding boundary, so the errors are those of a few jumps; see docs/sixteen-bit.md.
    assert expected / 10 < real < 10 * expected
    assert real > 10 * plain  # it is not float32 throughout
    # Casts round to the nearest, as the simulation does: either decodes what the other encodes.
    assert max(crossed, other_way) < 5 * max(real, expected)
    # Batches of any size are why pieces have fixed ones: there casts do not.
    assert errors(bundle, simulated, of_any_size) > 5 * max(crossed, other_way)


def test_a_graph_is_compiled_for_a_few_sizes_each_when_it_is_first_met(tiny):
    with open_openvino(tiny.encoder().SerializeToString()) as engine:
        assert set(engine._requests) == {1}
        for batch, sizes in ((1, {1}), (3, {1, 4}), (2, {1, 4}), (15, {1, 4, 16}), (37, {1, 4, 16})):
            x = tiny.images(batch)
            z, log_prob = tiny.expected(x)
            result = engine.run({"x": x})
            assert set(engine._requests) == sizes
            np.testing.assert_allclose(result["z1"], z, atol=1e-6)
            np.testing.assert_allclose(result["log_prob"], log_prob, atol=2e-6)
    with at_any_size(tiny) as engine:
        engine.run({"x": tiny.images(3)})
        assert set(engine._requests) == {None}


def at_any_size(tiny):
    return open_openvino(tiny.encoder().SerializeToString(), backend="openvino-cpu-default")


def run_graph(nodes, x, initializers=()):
    """What OpenVINO makes of a graph x -> y of tensors [2, 64, 16, 16], under the hint f32, for batches of any size."""
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 64, 16, 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", info[:1], info[1:], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)({"x": x})["y"]


def cast_back(kind):
    from onnx import TensorProto, helper

    number = getattr(TensorProto, kind)
    return [helper.make_node("Cast", ["x"], ["a"], to=number), helper.make_node("Cast", ["a"], ["y"], to=1)]


def half_of_the_odd(x):
    """Round to bfloat16 as OpenVINO's Convert does: half a unit is added only where the last bit kept is 1."""
    bits = x.view(np.uint32)
    return ((bits + ((bits & 0x10000) >> 1)) & 0xFFFF0000).view(np.float32)


def nearest(x):
    import ml_dtypes

    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_a_signal_comes_through_whatever_was_opened_and_closed_in_whatever_order(exported):
    """What OpenVINO puts back for signals as it goes must still be there."""
    code = (
        "import signal, sys\n"
        "import numpy as np\n"
        "from glow_deploy.engines import open_engine\n"
        "def run(engine, rows):\n"
        "    engine.run({spec.name: np.zeros((rows, *spec.shape), np.float32) for spec in engine.inputs})\n"
        "for names in (['encoder', 'decoder'], ['decoder', 'encoder']):\n"
        "    engines = [open_engine(f'{sys.argv[1]}/{name}.onnx', backend='openvino-cpu') for name in names]\n"
        "    for engine in engines: run(engine, 1); run(engine, 5)\n"
        "    while engines: engines.pop(0).close()\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, lambda number, frame: print('got', number))\n"
        "    signal.raise_signal(number)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, exported("affine")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "got 2\ngot 15\n", "")


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal((2, 64, 16, 16)).astype(np.float32)


def test_a_cast_to_float16_and_back_is_dropped(values):
    np.testing.assert_array_equal(run_graph(cast_back("FLOAT16"), values), values)


def test_a_cast_to_bfloat16_does_not_round_to_the_nearest(values):
    """Known of this release: where nothing is fused with it, in graphs for batches of any size."""
    need_bfloat16()
    found = run_graph(cast_back("BFLOAT16"), values)
    np.testing.assert_array_equal(found, half_of_the_odd(values))
    assert 0.2 < np.mean(found != nearest(values)) < 0.3


def test_a_bfloat16_convolution_accumulates_in_float32_and_rounds_its_result_to_the_nearest(values):
    need_bfloat16()
    import ml_dtypes
    from onnx import TensorProto, helper

    weight = nearest((np.random.default_rng(1).standard_normal((64, 64, 1, 1)) / 8).astype(np.float32))
    stored = helper.make_tensor(
        "w", TensorProto.BFLOAT16, weight.shape, weight.astype(ml_dtypes.bfloat16).tobytes(), raw=True
    )
    first, last = cast_back("BFLOAT16")
    last.input[0] = "c"
    found = run_graph([first, helper.make_node("Conv", ["a", "w"], ["c"]), last], values, [stored])
    exact = np.einsum(
        "oi,nihw->nohw", weight[:, :, 0, 0].astype(np.float64), half_of_the_odd(values).astype(np.float64)
    )
    assert np.mean(found == nearest(exact.astype(np.float32))) > 0.999
    assert np.mean(found == exact.astype(np.float32)) < 0.1


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "missing: x"),
        ({"x": np.zeros((1, 1, 4, 4), np.float32), "w": np.zeros(1)}, "unknown: w"),
        ({"x": np.zeros((1, 1, 4, 4))}, "must be float32, got float64"),
        ({"x": np.zeros((1, 1, 4, 5), np.float32)}, r"must have the shape \[N, 1, 4, 4\]"),
        ({"x": np.zeros((0, 1, 4, 4), np.float32)}, "is empty"),
    ],
)
def test_bad_feeds_are_refused_before_openvino_sees_them(tiny, feeds, message):
    with open_openvino(tiny.encoder().SerializeToString()) as engine, pytest.raises(EngineError, match=message):
        engine.run(feeds)


def test_a_closed_engine_says_so(tiny):
    engine = open_openvino(tiny.encoder().SerializeToString())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="this openvino-cpu encoder is closed"):
        engine.run({"x": tiny.images(1)})


def test_a_failure_while_running_is_one_line(tiny, monkeypatch):
    class Failing:
        def infer(self, *arguments, **options):
            raise RuntimeError("Exception from src/a.cpp:1:\nException from src/b.cpp:22:\nno memory\n left\n")

    with open_openvino(tiny.encoder().SerializeToString()) as engine:
        monkeypatch.setitem(engine._requests, 1, Failing())
        with pytest.raises(EngineError, match=r"^OpenVINO failed on a batch of 1: no memory left: if memory ran out"):
            engine.run({"x": tiny.images(1)})


def test_damaged_foreign_and_empty_files_are_refused(tmp_path, tiny):
    with pytest.raises(BundleError):
        open_openvino(tiny.encoder().SerializeToString()[:-40])
    with pytest.raises(BundleError):
        open_openvino(b"no graph at all")
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="is empty"):
        open_engine(tmp_path / "a.onnx", backend="openvino-cpu")


def test_a_graph_openvino_refuses_is_one_line(tiny):
    model = tiny.encoder()
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("group", 3))
    with pytest.raises((EngineError, BundleError)) as raised:
        open_openvino(model.SerializeToString(), source="encoder.onnx")
    assert "\n" not in str(raised.value)
    assert "encoder.onnx" in str(raised.value)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(tiny, threads):
    with pytest.raises(EngineError, match="at least 1"):
        open_openvino(tiny.encoder().SerializeToString(), threads=threads)


@pytest.mark.parametrize("backend", ["openvino-gpu", "openvino-npu"])
def test_a_device_that_openvino_does_not_report_is_refused_by_name(tiny, monkeypatch, backend):
    monkeypatch.setattr(engine_module, "openvino_devices", lambda: {"CPU": "a processor"})
    with pytest.raises(MissingDependencyError, match=rf"{backend} cannot run here: OpenVINO reports no \w+, only CPU"):
        open_openvino(tiny.encoder().SerializeToString(), backend=backend)


def test_the_devices_listed_are_those_that_openvino_reports():
    assert set(openvino_devices()) == set(openvino.Core().available_devices)
    assert "CPU" in openvino_devices()


@pytest.mark.parametrize(("backend", "device"), [("openvino-cpu", "cuda:1"), ("openvino-gpu", "cpu")])
def test_a_device_that_is_not_the_backends_is_refused(bundle, backend, device):
    with pytest.raises(UsageError, match=f"{backend} says itself where it runs, and device={device} is elsewhere"):
        open_engine(bundle / "encoder.onnx", backend=backend, device=device)


def test_an_unknown_backend_and_a_plan_are_refused(bundle):
    with pytest.raises(UsageError, match="backend is 'openvino'; choose from auto, openvino-cpu"):
        open_engine(bundle / "encoder.onnx", backend="openvino")
    plan = bundle / "encoder.trt"
    plan.write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(UsageError, match="is a TensorRT plan, which openvino-cpu cannot run: name the ONNX graph"):
        open_engine(plan, backend="openvino-cpu")


def test_without_the_package_it_names_the_extra(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"openvino cannot be imported .*: pip install 'glow-deploy\[ope"):
        open_engine(bundle / "encoder.onnx", backend="openvino-cpu")


def test_a_pair_given_by_name_opens_in_openvino(bundle):
    with open_pair(
        encoder=bundle / "encoder.onnx", decoder=bundle / "decoder.onnx", flavor="openvino-cpu", threads=1
    ) as pair:
        assert [engine.details.backend for engine in pair] == ["openvino-cpu"] * 2
        assert all(isinstance(engine, OpenVinoEngine) for engine in pair)


def test_a_lone_graph_is_tried_in_a_process_of_its_own_with_openvino(bundle, tiny, monkeypatch):
    tried = []
    monkeypatch.setattr("glow_deploy.engines.trial.try_graph", lambda data, **facts: tried.append(facts["runtime"]))
    open_engine(bundle / "encoder.onnx", backend="openvino-cpu").close()
    assert tried == ["openvino"]
    for graph in (tiny.encoder(), tiny.decoder()):
        try_graph(graph.SerializeToString(), work=0, source="encoder.onnx", runtime="openvino")


def test_neither_torch_nor_onnxruntime_is_imported(bundle):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from glow_deploy import open_engine\n"
        f"e = open_engine({str(bundle / 'encoder.onnx')!r}, backend='openvino-cpu')\n"
        "import numpy as np; print(e.run({'x': np.zeros((1, 1, 4, 4), np.float32)})['log_prob'].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1,)", done.stderr


def test_openvino_is_not_imported_before_it_is_asked_for():
    code = "import sys, glow_deploy, glow_deploy.engines.openvino; print('openvino' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert Path(engine_module.__file__).name == "openvino.py"
