"""What lies in a model repository: configurations, models, and golden inputs to warm up with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import read_regular, sha256_bytes
from glow_deploy.artifact.flavors import engine_files
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.artifact.manifest import DECODER, ENCODER
from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.artifact.sidecar import Sidecar, read_sidecar
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary import make_canary, make_integers
from glow_deploy.canary.graph import canary_graph
from glow_deploy.engines.remote import MODEL_ID, PRECISION
from glow_deploy.errors import BundleError, EngineError, UsageError
from glow_deploy.kserve import datatype_of
from glow_deploy.kserve.address import model_name
from glow_deploy.protocol import Role

from .models import ServedModel, ServedTensor, bundle_engine_model, canary_model, sample_model, score_model
from .pbtxt import Word, pbtxt
from .settings import TritonSettings

__all__ = ["ENGINE", "SHA256", "THREADS", "Files", "repository_files"]

Files = dict[str, bytes]
"""The contents of files by their names in the repository."""

SHA256, THREADS, ENGINE = "glow_deploy.sha256", "glow_deploy.threads", "glow_deploy.engine"
"""Parameters that the models of the Python backend read: of the graph, of the session, and which model they ask."""

_MODEL_FILES = {"onnxruntime": "model.onnx", "openvino": "model.onnx", "tensorrt": "model.plan", "python": "model.onnx"}
_CLASSES = {"engine": "EngineModel", "score": "ScoreModel", "sample": "SampleModel"}
_MICRO = 10**6
_VERSION = 1  # there is one: all versions of a model share a configuration, and that says whose model it is
_PADDED = 8  # rows of a batch in OpenVINO, whose backend runs batches of one size alone and fills up all others


def repository_files(bundle: Bundle, settings: TritonSettings) -> Files:
    """Make every file of a repository.

    Raises:
        BundleError: the bundle is damaged, or a plan is not what its sidecar says.
        EngineError: plans are asked for, and there are none.
        UsageError: they do not take a batch of 1; or the bundle is exact, and the backend would compute other integers.
    """
    if bundle.manifest.precision == EXACT:
        _refuse_other_integers(bundle, settings)
    files: Files = {}
    rows: dict[Role, int] = {}
    golden = bundle.golden()
    usual = min(settings.max_batch, _PADDED) if settings.backend == "openvino" else settings.max_batch
    engines: tuple[tuple[Role, str], ...] = (("encoder", ENCODER), ("decoder", DECODER))
    for role, graph in engines:
        model = bundle_engine_model(bundle, settings.name, role)
        data, most = bundle.read(graph), usual
        if settings.backend == "tensorrt":
            data, sidecar = _plan(bundle, role)
            most = min(most, sidecar.profile[2])
        rows[role] = most
        inputs: dict[str, np.ndarray] = {}
        if golden is not None:
            z = golden.z if golden.integers is None else golden.integers
            inputs = {"x": golden.x} if role == "encoder" else {f"z{k}": part for k, part in enumerate(z, 1)}
            if golden.integers is not None and role == "decoder":
                inputs["as_normal"] = np.zeros((len(golden), 1, 1, 1))
            inputs |= {} if golden.y is None else {"y": golden.y}
        files |= _engine(model, data, most, settings, bundle, warm=inputs)
    if settings.backend != "tensorrt":
        files |= _engine(canary_model(settings.name), canary_graph(make_canary()), usual, settings, None)
        if bundle.manifest.precision == EXACT:
            integers = canary_model(settings.name, integers=True)
            files |= _engine(integers, canary_graph(make_integers()), usual, settings, None)
    files |= _caller(score_model(bundle, settings.name), "encoder", rows["encoder"], settings, bundle)
    files |= _caller(sample_model(bundle, settings.name), "decoder", rows["decoder"], settings, bundle)
    return files


def _refuse_other_integers(bundle: Bundle, settings: TritonSettings) -> None:
    if settings.backend == "openvino":
        raise UsageError(
            f"{bundle.path} holds exact graphs, and Triton's OpenVINO backend computes in the number format that "
            "OpenVINO likes best, which gives other integers: choose backend=onnxruntime or backend=python"
        )
    facts = {entry.key: entry.value for entry in bundle.graph(ENCODER).metadata_props}
    native = facts.get(f"{PREFIX}exact.native")
    if native in ("bf16", "fp16"):
        raise UsageError(
            f"{bundle.path} holds exact graphs with convolutions in 16 bit, which no backend of Triton computes right: "
            f"export with --native {native}-carried for the same integers"
        )


def _engine(
    model: ServedModel,
    data: bytes,
    most: int,
    settings: TritonSettings,
    bundle: Bundle | None,
    *,
    warm: dict[str, np.ndarray] | None = None,
) -> Files:
    version, python = f"{model.name}/{_VERSION}", settings.backend == "python"
    files = {f"{version}/{_MODEL_FILES[settings.backend]}": data}
    first = {name: array[:1] for name, array in (warm or {}).items()}
    for tensor in model.inputs:
        if tensor.name in first:
            files[f"{model.name}/warmup/{tensor.name}"] = first[tensor.name].astype(tensor.dtype).tobytes()
    own = {SHA256: sha256_bytes(data)} if python else {}
    if python and settings.threads is not None:
        own[THREADS] = str(settings.threads)
    config = {
        "name": model.name,
        "backend": settings.backend,
        "default_model_filename": None if python else _MODEL_FILES[settings.backend],
        "max_batch_size": most,
        "input": [_tensor(tensor, batched=True) for tensor in model.inputs],
        "output": [_tensor(tensor, batched=True) for tensor in model.outputs],
        "instance_group": [{"count": settings.instances, "kind": _kind(settings)}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(settings.delay * 1000),
            "default_queue_policy": {
                "timeout_action": Word("REJECT"),
                "default_timeout_microseconds": round(settings.deadline * _MICRO),
                "allow_timeout_override": True,
                "max_queue_size": settings.queue,
            },
        },
        **_tuning(settings),
        "parameters": _parameters({**_identity(bundle), **own, **_runtime(settings)}),
        "model_warmup": [
            {
                "name": "golden image",
                "batch_size": size,
                "inputs": [
                    {
                        "key": tensor.name,
                        "value": {
                            "data_type": _type(tensor.dtype),
                            "dims": list(tensor.shape[1:]),
                            "input_data_file": tensor.name,
                        },
                    }
                    for tensor in model.inputs
                ],
            }
            for size in sorted({1, most})
        ]
        if first
        else [],
    }
    files[f"{model.name}/config.pbtxt"] = pbtxt(config).encode()
    if python:
        files[f"{version}/model.py"] = _python("engine", f"Runs {model.name} in glow-deploy's own engine.")
    return files


def _caller(model: ServedModel, role: Role, most: int, settings: TritonSettings, bundle: Bundle) -> Files:
    """A model in Python that asks an engine of the same server, for no more rows at once than that takes."""
    asked = bundle_engine_model(bundle, settings.name, role)
    engine = {
        "model": asked.name,
        "role": role,
        "n_bits": bundle.manifest.n_bits,
        "num_classes": bundle.manifest.num_classes,
        "precision": bundle.manifest.precision,
        "max_batch": most,
        **{
            side: [[tensor.name, tensor.dtype, list(_row(tensor, bundle, role, side))] for tensor in tensors]
            for side, tensors in (("inputs", asked.inputs), ("outputs", asked.outputs))
        },
    }
    config = {
        "name": model.name,
        "backend": "python",
        "max_batch_size": 0,
        "input": [_tensor(tensor, batched=False) for tensor in model.inputs],
        "output": [_tensor(tensor, batched=False) for tensor in model.outputs],
        "instance_group": [{"count": settings.instances, "kind": Word("KIND_CPU")}],
        "parameters": _parameters({**_identity(bundle), ENGINE: json.dumps(engine)}),
    }
    what = {"score": "Scores pictures", "sample": "Draws samples"}[model.role]
    return {
        f"{model.name}/config.pbtxt": pbtxt(config).encode(),
        f"{model.name}/{_VERSION}/model.py": _python(
            model.role, f"{what} with {model_name(settings.name, role)} of the same server."
        ),
    }


def _row(tensor: ServedTensor, bundle: Bundle, role: Role, side: str) -> tuple[int, ...]:
    return tuple(bundle.manifest.tensors[role][side][tensor.name]["shape"])


def _python(kind: str, what: str) -> bytes:
    return (
        f'"""{what} Written by `glow-deploy triton`; the Python of Triton needs the package glow-deploy."""\n\n'
        f"from glow_deploy.serving.triton import {_CLASSES[kind]} as TritonPythonModel\n\n"
        '__all__ = ["TritonPythonModel"]\n'
    ).encode()


def _plan(bundle: Bundle, role: Role) -> tuple[bytes, Sidecar]:
    path = bundle.path / engine_files("tensorrt")[0 if role == "encoder" else 1]
    if not path.is_file():
        raise EngineError(
            f"{path} does not exist: `glow-deploy compile {bundle.path} --flavor tensorrt` makes it, on the GPU and "
            "with the TensorRT release that Triton runs it with"
        )
    sidecar = read_sidecar(path)
    data = read_regular(path, most=SIZE_LIMIT, error=BundleError)
    if sidecar is None or sidecar.sha256 != sha256_bytes(data):
        raise BundleError(f"{path} has no sidecar that matches it: a plan is executable code; compile it again")
    if sidecar.profile[0] > 1:
        raise UsageError(
            f"{path} takes batches of {sidecar.profile[0]} and more, and Triton gives it single rows: compile it "
            "with min_batch=1"
        )
    return data, sidecar


def _tensor(tensor: ServedTensor, *, batched: bool) -> dict[str, Any]:
    # One number a row: Triton needs a size after that of the batch, the graphs have none.
    scalar = batched and tensor.shape == (-1, 1)
    return {
        "name": tensor.name,
        "data_type": _type(tensor.dtype),
        "dims": list(tensor.shape[1:] if batched else tensor.shape),
        "reshape": {"shape": []} if scalar else None,
        "optional": True if tensor.optional else None,
    }


def _type(dtype: str) -> Word:
    return Word(f"TYPE_{datatype_of(dtype)}")


def _kind(settings: TritonSettings) -> Word:
    if settings.backend == "openvino":  # it takes no other kind, and reads the device from a parameter
        return Word("KIND_CPU")
    return Word(f"KIND_{settings.device.upper()}")


def _tuning(settings: TritonSettings) -> dict[str, Any]:
    if settings.backend != "onnxruntime" or settings.device == "cpu":
        return {}
    # ONNX Runtime's CUDA provider uses TF32 unless it is told not to, which costs invertibility.
    cuda = {"name": "cuda", "parameters": [{"key": "use_tf32", "value": "0"}]}
    return {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [cuda]}}}


def _runtime(settings: TritonSettings) -> dict[str, str]:
    match settings.backend:
        case "onnxruntime" if settings.threads is not None:
            return {"intra_op_thread_count": str(settings.threads)}
        case "openvino":
            threads = {} if settings.threads is None else {"INFERENCE_NUM_THREADS": str(settings.threads)}
            device = "GPU" if settings.device == "gpu" else "CPU"
            return {"TARGET_DEVICE": device, "ENABLE_BATCH_PADDING": "YES", "PERFORMANCE_HINT": "LATENCY", **threads}
    return {}


def _identity(bundle: Bundle | None) -> dict[str, str]:
    if bundle is None:
        return {}
    return {MODEL_ID: bundle.manifest.model_id, PRECISION: bundle.manifest.precision}


def _parameters(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"string_value": value}} for key, value in values.items()]
