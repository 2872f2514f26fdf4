"""Every configuration is one that Triton's own description of it takes, and says what the engines are."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_triton import parse_pbtxt

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.sidecar import Sidecar, sidecar_path
from glow_deploy.engines.open import open_engine
from glow_deploy.engines.remote import bundle_specs
from glow_deploy.errors import BundleError, UsageError
from glow_deploy.serving import TritonSettings
from glow_deploy.serving.model_files import repository_files


@pytest.fixture(scope="module")
def model_config():
    """Read a config.pbtxt as Triton does: one generated file of its client's package says how."""
    found = importlib.util.find_spec("tritonclient")
    if found is None:
        pytest.skip("tritonclient is not installed: pip install --no-deps tritonclient")
    from google.protobuf import text_format

    place = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def read(data):
        return text_format.Parse(data.decode(), module.ModelConfig())

    return read


def configs(files, model_config):
    return {name.partition("/")[0]: model_config(data) for name, data in files.items() if name.endswith(".pbtxt")}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "python"])
@pytest.mark.parametrize("kind", ["bundle", "class_bundle"])
def test_every_field_is_one_of_tritons(kind, backend, request, model_config):
    path = request.getfixturevalue(kind)
    opened = Bundle.open(path)
    settings = TritonSettings(backend=backend, max_batch=16, delay=1.5, queue=9, deadline=2, instances=3, threads=2)
    found = configs(repository_files(opened, settings), model_config)
    assert sorted(found) == [f"glow-{role}" for role in ("canary", "decoder", "encoder", "sample", "score")]
    for role in ("encoder", "decoder"):
        config = found[f"glow-{role}"]
        inputs, outputs = bundle_specs(opened, role)
        for specs, entries in ((inputs, config.input), (outputs, config.output)):
            assert [entry.name for entry in entries] == [spec.name for spec in specs]
            for spec, entry in zip(specs, entries, strict=True):
                assert tuple(entry.dims) == (spec.shape or (1,))
                assert entry.HasField("reshape") is not bool(spec.shape)
                assert list(entry.reshape.shape) == []
                known = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}[spec.dtype]
                assert (
                    entry.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[entry.data_type].name
                    == known
                )
        assert config.backend == backend
        most = 8 if backend == "openvino" else 16
        assert config.max_batch_size == most
        batching = config.dynamic_batching
        assert batching.max_queue_delay_microseconds == 1500
        assert batching.default_queue_policy.default_timeout_microseconds == 2_000_000
        assert batching.default_queue_policy.max_queue_size == 9
        assert config.instance_group[0].count == 3
        assert config.parameters["glow_deploy.model_id"].string_value == opened.manifest.model_id
        assert {warm.batch_size for warm in config.model_warmup} == {1, most}
        for warm in config.model_warmup:
            assert set(warm.inputs) == {spec.name for spec in inputs}
    asked = found["glow-sample"]
    assert {entry.name for entry in asked.input if entry.optional} == {"start", "seed", "temperature"}
    assert ("y" in {entry.name for entry in asked.input}) is (kind == "class_bundle")
    told = json.loads(found["glow-score"].parameters["glow_deploy.engine"].string_value)
    assert (told["model"], told["max_batch"]) == ("glow-encoder", most)
    if backend == "onnxruntime":
        accelerator = found["glow-encoder"].optimization.execution_accelerators.gpu_execution_accelerator[0]
        assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {"use_tf32": "0"})


@pytest.mark.parametrize(("device", "target"), [("auto", "CPU"), ("cpu", "CPU"), ("gpu", "GPU")])
def test_openvino_is_given_what_its_backend_takes(bundle, device, target):
    files = repository_files(Bundle.open(bundle), TritonSettings(backend="openvino", device=device))
    for role in ("encoder", "decoder", "canary"):
        config = parse_pbtxt(files[f"glow-{role}/config.pbtxt"].decode())
        parameters = {entry["key"][0]: entry["value"][0]["string_value"][0] for entry in config["parameters"]}
        assert config["instance_group"][0]["kind"] == ["KIND_CPU"]
        assert (parameters["TARGET_DEVICE"], parameters["ENABLE_BATCH_PADDING"]) == (target, "YES")
        assert config["max_batch_size"] == [8]


def test_a_field_that_triton_does_not_have_is_noticed(model_config):
    from google.protobuf import text_format

    with pytest.raises(text_format.ParseError):
        model_config(b'name: "x" max_batches: 3')


def test_warm_up_inputs_are_one_row_and_run(bundle):
    files = repository_files(Bundle.open(bundle), TritonSettings())
    engine = open_engine(bundle / "decoder.onnx")
    feeds = {
        spec.name: np.frombuffer(files[f"glow-decoder/warmup/{spec.name}"], spec.dtype).reshape(1, *spec.shape)
        for spec in engine.inputs
    }
    golden = Bundle.open(bundle).golden()
    assert np.abs(engine.run(feeds)["x"] - golden.x[:1]).max() < 1e-4


def test_exact_graphs_warm_up_with_integers_and_go_to_no_backend_that_changes_them(exact_bundle, tmp_path):
    opened = Bundle.open(exact_bundle)
    files = repository_files(opened, TritonSettings())
    inputs, _ = bundle_specs(opened, "decoder")
    feeds = {
        spec.name: np.frombuffer(files[f"glow-decoder/warmup/{spec.name}"], spec.dtype).reshape(1, *spec.shape)
        for spec in inputs
    }
    feeds["y"] = feeds["y"].reshape(1)
    with open_engine(exact_bundle / "decoder.onnx") as engine:
        found = engine.integers.run(feeds)
    np.testing.assert_array_equal(found["x"], opened.golden().x[:1])
    with pytest.raises(UsageError, match="OpenVINO likes best"):
        repository_files(opened, TritonSettings(backend="openvino"))
    shutil.copytree(exact_bundle, tmp_path / "native")
    graph = onnx.load(tmp_path / "native" / "encoder.onnx")
    next(entry for entry in graph.metadata_props if entry.key.endswith("exact.native")).value = "fp16"
    data = graph.SerializeToString()
    (tmp_path / "native" / "encoder.onnx").write_bytes(data)
    manifest = json.loads((tmp_path / "native" / "manifest.json").read_text())
    manifest["files"]["encoder.onnx"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "native" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="--native fp16-carried"):
        repository_files(Bundle.open(tmp_path / "native"), TritonSettings())


def test_a_bundle_without_golden_vectors_warms_up_with_nothing(make_bundle):
    files = repository_files(Bundle.open(make_bundle("bare", golden=None)), TritonSettings())
    assert not any("warmup" in name for name in files)


def test_plans_are_taken_with_their_sidecars_alone(bundle, tmp_path):
    import shutil

    place = tmp_path / "bundle"
    shutil.copytree(bundle, place)
    opened, settings = Bundle.open(place), TritonSettings(backend="tensorrt")

    def compile_(smallest):
        for role in ("encoder", "decoder"):
            plan = place / f"{role}.trt"
            plan.write_bytes(b"ftrt" + role.encode())
            inputs, outputs = bundle_specs(opened, role)
            sidecar = Sidecar(
                sha256=hashlib.sha256(plan.read_bytes()).hexdigest(), onnx_sha256="0" * 64, flavor="tensorrt",
                version="11.0", tf32=False, version_compatible=False, hardware_compatible=False,
                profile=(smallest, 8, 32 if role == "encoder" else 16), gpus=("sm90",), metadata={},
                inputs=inputs, outputs=outputs,
            )  # fmt: skip
            sidecar_path(plan).write_text(sidecar.to_json())

    compile_(1)
    files = repository_files(opened, settings)
    assert files["glow-encoder/1/model.plan"] == b"ftrtencoder"
    assert not any(name.startswith("glow-canary") for name in files)
    for role, caller in (("encoder", "score"), ("decoder", "sample")):
        found = parse_pbtxt(files[f"glow-{caller}/config.pbtxt"].decode())
        told = {entry["key"][0]: entry["value"][0]["string_value"][0] for entry in found["parameters"]}
        asked = json.loads(told["glow_deploy.engine"])["max_batch"]
        most = {"encoder": 32, "decoder": 16}[role]
        assert parse_pbtxt(files[f"glow-{role}/config.pbtxt"].decode())["max_batch_size"] == [asked] == [most]
    compile_(2)
    with pytest.raises(UsageError, match="min_batch=1"):
        repository_files(opened, settings)
    compile_(1)
    (place / "decoder.trt").write_bytes(b"ftrtother")
    with pytest.raises(BundleError, match="sidecar"):
        repository_files(opened, settings)
