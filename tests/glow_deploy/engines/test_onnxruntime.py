from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from glow_deploy.engines import onnxruntime as engine_module
from glow_deploy.engines.device import Device
from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine, open_onnx
from glow_deploy.errors import BundleError, EngineError, MissingDependencyError, UsageError


@pytest.fixture
def encoder(tiny):
    with open_onnx(tiny.encoder().SerializeToString(), device="cpu") as engine:
        yield engine


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(engine_module, "count_gpus", lambda: 0)


@pytest.mark.parametrize("batch", [1, 2, 3, 17])
def test_both_directions_agree_with_float64(tiny, encoder, batch):
    x = tiny.images(batch)
    result = encoder.run({"x": x})
    z, log_prob = tiny.expected(x)
    np.testing.assert_allclose(result["z1"], z, atol=1e-6)
    np.testing.assert_allclose(result["log_prob"], log_prob, atol=2e-6)
    with open_onnx(tiny.decoder().SerializeToString(), device="cpu", threads=1) as decoder:
        np.testing.assert_allclose(decoder.run({"z1": result["z1"]})["x"], x, atol=1e-6)


def test_the_comparison_notices_a_wrong_weight(tiny):
    model = tiny.encoder()
    weight = np.array(tiny.WEIGHT)[:, :, None, None]
    weight[0, 0] *= 1.01
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "weight"))
    x = tiny.images(3)
    with open_onnx(model.SerializeToString(), device="cpu") as engine:
        assert np.abs(engine.run({"x": x})["z1"] - tiny.expected(x)[0]).max() > 1e-4


def test_what_runs_is_described(encoder):
    details = encoder.details
    assert (encoder.role, encoder.n_bits) == ("encoder", 5)
    assert [(spec.name, spec.dtype, spec.shape) for spec in encoder.inputs] == [("x", "float32", (1, 4, 4))]
    assert [(spec.name, spec.shape) for spec in encoder.outputs] == [("z1", (4, 2, 2)), ("log_prob", ())]
    assert (details.backend, details.provider, details.device) == ("onnxruntime-cpu", "CPUExecutionProvider", "cpu")
    assert (details.precision, details.tf32, details.max_batch) == ("fp32", False, None)
    assert details.versions["onnxruntime"]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "missing: x"),
        ({"x": np.zeros((1, 1, 4, 4), "f4"), "q": np.zeros(1)}, "unknown: q"),
        ({"x": np.zeros((1, 1, 4, 4), "f4"), 3: np.zeros(1)}, "unknown: 3"),
        ({"x": [[1.0, 2.0], [3.0]]}, "x is no array"),
        ({"x": np.zeros((1, 1, 4, 4))}, "must be float32, got float64"),
        ({"x": np.zeros((1, 1, 4, 5), "f4")}, r"shape \[N, 1, 4, 4\]"),
        ({"x": np.zeros((1, 4, 4), "f4")}, r"shape \[N, 1, 4, 4\]"),
        ({"x": np.zeros((0, 1, 4, 4), "f4")}, "empty"),
    ],
)
def test_wrong_feeds_are_named(encoder, feeds, message):
    with pytest.raises(EngineError, match=message):
        encoder.run(feeds)


def test_arrays_need_not_be_contiguous(tiny, encoder):
    x = tiny.images(4)
    turned = np.asfortranarray(x)[::-1]
    np.testing.assert_array_equal(encoder.run({"x": turned})["z1"], encoder.run({"x": x[::-1].copy()})["z1"])


def test_a_closed_engine_says_so(tiny, encoder):
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.run({"x": tiny.images(1)})


def test_cuda_asked_for_and_absent_is_an_error_never_the_cpu(tiny, no_gpu):
    for device in ("cuda", "cuda:3"):
        with pytest.raises(MissingDependencyError, match="cannot run on cuda"):
            open_onnx(tiny.encoder().SerializeToString(), device=device)


def test_a_provider_that_does_not_load_is_an_error_never_the_cpu(tiny, monkeypatch):
    # Pretend that there is a GPU: the CUDA provider then fails to load, and ONNX Runtime would go on without it.
    monkeypatch.setattr(engine_module, "cuda_problem", lambda device: None)
    session = engine_module._session
    if engine_module.count_gpus():
        pytest.skip("this machine has a GPU, where the provider loads")
    with pytest.raises((MissingDependencyError, EngineError), match="cuda:0"):
        session(tiny.encoder().SerializeToString(), engine_module.Device("cuda"), "graph", None)


def test_auto_falls_back_to_the_cpu_and_says_so(tiny, no_gpu):
    with open_onnx(tiny.encoder().SerializeToString(), device="auto") as engine:
        assert engine.details.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1", "", "cuda:" + "0" * 5000])
def test_unknown_devices_are_refused(tiny, device):
    with pytest.raises(UsageError, match=r"unknown device|device must be a string"):
        open_onnx(tiny.encoder().SerializeToString(), device=device)


def test_threads_must_be_positive(tiny):
    with pytest.raises(UsageError, match="threads must be a whole number from 1 to 4096, not 0"):
        open_onnx(tiny.encoder().SerializeToString(), device="cpu", threads=0)


def _damaged(tiny):
    whole = tiny.encoder().SerializeToString()
    rng = np.random.default_rng(0)
    yield "random", rng.bytes(5000)
    yield "text", b"hello world, this is no graph"
    yield "nothing", b"\x00" * 64
    for end in (3, 20, len(whole) // 2, len(whole) - 3):
        yield f"cut at {end}", whole[:end]


def test_damaged_bytes_are_one_line_errors(tiny):
    for name, data in _damaged(tiny):
        with pytest.raises(BundleError) as caught:
            open_onnx(data, device="cpu", source=name)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2


def _external(model):
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="../../etc/passwd")
    tensor.ClearField("raw_data")


def _function(model):
    model.functions.add().name = "f"


def _domain(model):
    model.graph.node[0].domain = "com.microsoft"


def _double(model):
    model.graph.node[1].input[0] = "wide"
    node = onnx.helper.make_node("Cast", ["s"], ["wide"], to=onnx.TensorProto.DOUBLE)
    model.graph.node.insert(1, node)


def _random(model):
    model.graph.node[0].op_type = "RandomNormalLike"


def _unnamed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3


def _shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8


def _rename(model):
    model.graph.output[0].name = "z9"


@pytest.mark.parametrize(
    "damage",
    [_external, _function, _domain, _double, _random, _unnamed_batch, _shape, _rename],
    ids=lambda f: f.__name__,
)
def test_unsafe_or_foreign_graphs_are_refused_before_they_run(tiny, damage, monkeypatch):
    model = tiny.encoder()
    damage(model)
    monkeypatch.setattr(engine_module, "_session", lambda *a: pytest.fail("reached ONNX Runtime"))
    with pytest.raises(BundleError):
        open_onnx(model.SerializeToString(), device="cpu")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role", None),
        ("role", "decoder"),
        ("role", "both"),
        ("n_bits", "0"),
        ("n_bits", "eight"),
        ("levels", "2"),
        ("image_size", "4"),
        ("image_size", "8x8"),
        ("format_version", "2"),
        ("num_classes", "3"),
    ],
)
def test_metadata_that_does_not_fit_the_graph_is_refused(tiny, key, value):
    with pytest.raises(BundleError):
        open_onnx(tiny.encoder(**{key: value}).SerializeToString(), device="cpu")


def test_a_graph_onnxruntime_refuses_is_one_line(tiny):
    model = tiny.encoder()
    model.opset_import[0].version = 999
    with pytest.raises(EngineError, match="cannot open") as caught:
        open_onnx(model.SerializeToString(), device="cpu")
    assert "\n" not in str(caught.value)


class Refusing:
    def run(self, names, arrays):
        raise RuntimeError("node \x1b[2J\x07 of\nthe file")


def test_names_that_onnxruntime_repeats_are_shown_as_letters(encoder, tiny):
    encoder._session = Refusing()
    with pytest.raises(EngineError) as caught:
        encoder.run({"x": tiny.images(1)})
    assert str(caught.value).isprintable()
    assert r"node \x1b[2J\x07 of the file" in str(caught.value)


_SCRIPT = """
import sys
sys.modules["torch"] = None  # importing it now raises ImportError
from glow_deploy import open_engine
import numpy as np
with open_engine(sys.argv[1]) as engine:
    print(engine.run({"x": np.zeros((2, 1, 4, 4), np.float32)})["log_prob"].shape)
assert "glow_core.model" not in sys.modules
"""


def test_engines_run_without_torch_and_print_nothing(bundle):
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(bundle / "encoder.onnx")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2,)\n", "")


@pytest.mark.parametrize(("device", "why"), [("cpu", "no bfloat16 convolution"), ("cuda", "before its bias is added")])
def test_bfloat16_convolutions_of_integers_are_refused_on_either_device(device, why):
    graph = SimpleNamespace(
        facts=SimpleNamespace(precision="exact"), metadata={"glow_deploy.exact.native": "bf16"}, inputs=(), outputs=()
    )
    with pytest.raises(MissingDependencyError, match=f"{why}.*openvino-cpu.*bf16-carried"):
        OnnxRuntimeEngine(b"", graph=graph, device=Device(device), source="enc")
