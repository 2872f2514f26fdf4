"""Models of Triton's Python backend: they run in its process, which finds this package in its own Python.

https://github.com/triton-inference-server/python_backend. Triton makes one object for each instance of a model and
calls `initialize`, then `execute` with the requests it has joined, then `finalize`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.artifact.files import read_regular, sha256_bytes
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.engines.base import EngineBase
from glow_deploy.engines.exact import like_others
from glow_deploy.errors import BundleError, DataError, EngineError, GlowDeployError, UsageError
from glow_deploy.printable import one_line
from glow_deploy.protocol import Engine, EngineDetails, TensorSpec

from .calls import check_classes, sample_call, score_call
from .model_files import ENGINE, SHA256, THREADS

__all__ = ["EngineModel", "SampleModel", "ScoreModel", "ServerEngine"]


class EngineModel:
    """An encoder, decoder or canary in this package's own engine."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the graph of the version folder, which must be the one that the configuration names by its sha256."""
        from glow_deploy.engines.onnxruntime import open_onnx

        parameters = _parameters(args)
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        data = read_regular(path, most=SIZE_LIMIT, error=BundleError)
        if sha256_bytes(data) != parameters.get(SHA256):
            raise BundleError(f"{path} is not the graph that its config.pbtxt names; write the repository again")
        device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        threads = int(parameters[THREADS]) if THREADS in parameters else None
        self._engine = open_onnx(data, device=device, source=str(path), threads=threads)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run all requests as one batch; where that fails, each by itself, so that none spoils the others."""
        feeds = [_arrays(request, self._engine.inputs) for request in requests]
        rows = [len(next(iter(feed.values()))) for feed in feeds]
        try:
            joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
            found = self._engine.run(joined)
        except (GlowDeployError, ValueError, KeyError):
            return [_answer(partial(self._alone, feed)) for feed in feeds]
        ends = np.cumsum([0, *rows])
        return [_answer(partial(_rows, found, first, last)) for first, last in pairwise(ends)]

    def finalize(self) -> None:
        """Give memory and device back."""
        self._engine.close()

    def _alone(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        check_classes(self._engine, feed)
        return self._engine.run(feed)


class _Caller:
    """A model that asks an engine of the same server."""

    call: Callable[[Engine, Mapping[str, np.ndarray]], dict[str, np.ndarray]]

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read which model to ask."""
        self._engine = like_others(ServerEngine(json.loads(_parameters(args)[ENGINE])))
        self._inputs = [entry["name"] for entry in json.loads(args["model_config"])["input"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request by itself: its pictures are numbered from 0, and its samples as it says."""
        return [_answer(partial(self._one, request)) for request in requests]

    def _one(self, request: Any) -> dict[str, np.ndarray]:
        return type(self).call(self._engine, _named(request, self._inputs))


class ScoreModel(_Caller):
    """Scoring, as `glow-deploy score` does it."""

    call = staticmethod(score_call)


class SampleModel(_Caller):
    """Sampling, as `glow-deploy sample` does it."""

    call = staticmethod(sample_call)


class ServerEngine(EngineBase):
    """An engine of the same server, asked from inside it.

    Args:
        told: of the parameter `ENGINE`: the model's name and what it takes and gives.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._model = told["model"]

        def specs(side: str) -> list[TensorSpec]:
            return [TensorSpec(name=name, dtype=dtype, shape=tuple(shape)) for name, dtype, shape in told[side]]

        super().__init__(
            role=told["role"],
            n_bits=told["n_bits"],
            num_classes=told["num_classes"],
            inputs=specs("inputs"),
            outputs=specs("outputs"),
            most_rows=told["max_batch"],
            details=EngineDetails(
                backend="triton",
                provider=self._model,
                device="the server's",
                precision=told["precision"],
                tf32=True,
                versions={},
            ),
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        pb = _backend()
        tensors = [pb.Tensor(name, array if array.ndim > 1 else array[:, None]) for name, array in arrays.items()]
        request = pb.InferenceRequest(
            model_name=self._model,
            requested_output_names=[spec.name for spec in self._outputs],
            inputs=tensors,
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise EngineError(f"{self._model}: {one_line(response.error().message(), longest=300)}")
        found = {}
        for spec in self._outputs:
            array = pb.get_output_tensor_by_name(response, spec.name).as_numpy()
            found[spec.name] = array if spec.shape else array.reshape(-1)
        return found

    def _close(self) -> None:
        pass


def _backend() -> Any:
    """The module that exists only inside Triton's Python backend."""
    import triton_python_backend_utils

    return triton_python_backend_utils


def _parameters(args: Mapping[str, str]) -> dict[str, str]:
    found = json.loads(args["model_config"])["parameters"]
    return {key: value["string_value"] for key, value in found.items()}


def _named(request: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The inputs that a request brings; optional ones may not be there."""
    pb = _backend()
    tensors = {name: pb.get_input_tensor_by_name(request, name) for name in names}
    return {name: tensor.as_numpy() for name, tensor in tensors.items() if tensor is not None}


def _arrays(request: Any, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    found = _named(request, [spec.name for spec in inputs])
    return {spec.name: found[spec.name] if spec.shape else found[spec.name].reshape(-1) for spec in inputs}


def _rows(found: Mapping[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    return {name: array[first:last] for name, array in found.items()}


def _answer(work: Callable[[], dict[str, np.ndarray]]) -> Any:
    pb = _backend()
    try:
        found = work()
    except GlowDeployError as error:
        asked = isinstance(error, (DataError, UsageError))
        code = pb.TritonError.INVALID_ARG if asked else pb.TritonError.INTERNAL
        return pb.InferenceResponse(error=pb.TritonError(one_line(error), code))
    return pb.InferenceResponse(
        output_tensors=[pb.Tensor(name, np.ascontiguousarray(array)) for name, array in found.items()]
    )
