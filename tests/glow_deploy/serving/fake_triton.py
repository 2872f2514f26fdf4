"""A stand-in for what Triton's Python backend gives its models, and a server that runs a repository with it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import numpy as np

_TOKEN = re.compile(r'"((?:\\.|[^"\\])*)"|([\w.-]+)|([{}:\[\],])')


def parse_pbtxt(text):
    """Read protocol buffers as text without their description: fields to lists of values."""
    tokens = [(found[1], found.group(0)[:1] == '"') if found.group(0)[:1] == '"' else (found.group(0), False)
              for found in _TOKEN.finditer(text)]  # fmt: skip
    place = 0

    def value():
        nonlocal place
        word, quoted = tokens[place]
        place += 1
        if quoted:
            return word.replace('\\"', '"').replace("\\\\", "\\")
        return int(word) if word.lstrip("-").isdecimal() else word

    def message():
        nonlocal place
        found = {}
        while place < len(tokens) and tokens[place] != ("}", False):
            name = value()
            if tokens[place][0] == ":":
                place += 1
            if tokens[place] == ("{", False):
                place += 1
                found.setdefault(name, []).append(message())
                place += 1
            elif tokens[place] == ("[", False):
                place += 1
                found.setdefault(name, [])
                while tokens[place] != ("]", False):
                    found[name].append(value())
                    if tokens[place] == (",", False):
                        place += 1
                place += 1
            else:
                found.setdefault(name, []).append(value())
        return found

    return message()


class TritonError(Exception):
    INVALID_ARG, INTERNAL = 1, 2

    def __init__(self, text, code=2):
        super().__init__(text)
        self.text, self.code = text, code

    def message(self):
        return self.text


class Tensor:
    def __init__(self, name, array):
        assert isinstance(array, np.ndarray)
        assert array.flags.c_contiguous
        self.name, self.array = name, array

    def as_numpy(self):
        return self.array


class Response:
    def __init__(self, output_tensors=(), error=None):
        self.tensors = {tensor.name: tensor for tensor in output_tensors}
        self.trouble = error

    def has_error(self):
        return self.trouble is not None

    def error(self):
        return self.trouble


def _entry(entries, name):
    return next(entry for entry in entries if entry["name"] == [name])


def _reshaped(array, entries, name):
    """An input as the model sees it: [N] where the configuration reshapes [N, 1]."""
    reshape = _entry(entries, name).get("reshape")
    return array if reshape is None else array.reshape(len(array), *reshape[0]["shape"])


def _restored(array, entries, name):
    """An output as clients see it: [N, 1] where the model gives the [N] that the configuration says."""
    entry = _entry(entries, name)
    if "reshape" not in entry:
        return array
    assert array.shape[1:] == tuple(entry["reshape"][0]["shape"])
    return array.reshape(len(array), *entry["dims"])


class Server:
    """Runs the Python models of a repository, with the checks that Triton makes of shapes and types."""

    def __init__(self, repository, monkeypatch):
        module = types.ModuleType("triton_python_backend_utils")
        module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, TritonError
        module.TRITONSERVER_MEMORY_CPU = 0
        module.PreferredMemory = lambda *_: None
        module.InferenceRequest = self._request
        module.get_input_tensor_by_name = lambda request, name: request.get(name)
        module.get_output_tensor_by_name = lambda response, name: response.tensors.get(name)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        self.models, self.configs = {}, {}
        for folder in sorted(path for path in Path(repository).iterdir() if path.is_dir()):
            config = parse_pbtxt((folder / "config.pbtxt").read_text())
            version = next(path for path in folder.iterdir() if path.name.isdecimal())
            spec = importlib.util.spec_from_file_location(folder.name.replace("-", "_"), version / "model.py")
            source = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(source)
            model = source.TritonPythonModel()
            parameters = {p["key"][0]: {"string_value": p["value"][0]["string_value"][0]} for p in config["parameters"]}
            inputs = [{"name": entry["name"][0]} for entry in config["input"]]
            model.initialize(
                {
                    "model_config": json.dumps({"parameters": parameters, "input": inputs}),
                    "model_repository": str(folder),
                    "model_version": version.name,
                    "model_instance_kind": "CPU",
                    "model_instance_device_id": "0",
                }
            )
            self.models[folder.name], self.configs[folder.name] = model, config

    def ask(self, name, *requests):
        """Give requests to a model together; returns arrays by name, or the error, for each."""
        config = self.configs[name]
        for request in requests:
            for tensor_name, array in request.items():
                entry = next(entry for entry in config["input"] if entry["name"] == [tensor_name])
                dims = entry["dims"]
                most = config["max_batch_size"][0]
                shape = array.shape[1:] if most else array.shape
                if most and len(array) > most:
                    return [TritonError(f"batch size {len(array)} is more than {most}")] * len(requests)
                assert len(shape) == len(dims)
                assert all(wanted in (-1, size) for wanted, size in zip(dims, shape, strict=True))
        tensors = [
            {key: Tensor(key, _reshaped(array, config["input"], key)) for key, array in request.items()}
            for request in requests
        ]
        answers = self.models[name].execute(tensors)
        return [
            answer.error()
            if answer.has_error()
            else {key: _restored(t.as_numpy(), config["output"], key) for key, t in answer.tensors.items()}
            for answer in answers
        ]

    def _request(self, *, model_name, requested_output_names, inputs, preferred_memory):
        def run():
            found = self.ask(model_name, {tensor.name: tensor.as_numpy() for tensor in inputs})[0]
            if isinstance(found, TritonError):
                return Response(error=found)
            return Response([Tensor(name, np.ascontiguousarray(found[name])) for name in requested_output_names])

        return types.SimpleNamespace(exec=run)
