"""A bundle's engines as models that answer requests, without anything of HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy._version import __version__
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.flavors import PLANS, engine_files
from glow_deploy.artifact.signature import EXACT
from glow_deploy.canary.run import open_canary
from glow_deploy.engines.exact import as_it_is, like_others
from glow_deploy.engines.pair import open_pair
from glow_deploy.engines.remote import MODEL_ID, PRECISION
from glow_deploy.errors import DataError, GlowDeployError, UsageError
from glow_deploy.kserve import datatype_of
from glow_deploy.protocol import Engine

from .batching import Batcher, JoinedEngine
from .calls import check_classes, sample_call, score_call
from .metrics import Metrics
from .models import ServedModel, ServedTensor, bundle_engine_model, canary_model, sample_model, score_model
from .settings import ServeSettings
from .turns import Turns

__all__ = ["Service", "deadline", "server_metadata", "trouble_status"]

_CALLS = 4  # requests for scoring, and for sampling, that are worked on at once; others wait
_CANARIES = ("canary", "integers")
_HEAD = 8 << 10  # bytes of a request besides its tensors
_LONGEST = 10**12  # microseconds that a request may ask for: more than any deadline
Arrays = dict[str, np.ndarray]
Call = Callable[[Engine, Mapping[str, np.ndarray]], Arrays]


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A model, the engine behind it, and for scoring and sampling what is done with that.

    Attributes:
        described: as clients see it.
        batcher: of the engine.
        most: rows of one request.
        call: for scoring and sampling.
        turns: likewise.
        coming: when something last came of each body that is on its way.
    """

    described: ServedModel
    batcher: Batcher
    most: int = 0
    call: Call | None = None
    turns: Turns | None = None
    coming: dict[object, float] = field(default_factory=dict)


class Service:
    """The models of a bundle.

    Args:
        bundle: the folder.
        settings: how to serve it.
        metrics: what is counted.

    Raises:
        GlowDeployError: the bundle or an engine of it cannot be used.
        UsageError: no request may be as large as one row.
    """

    def __init__(self, bundle: str | Path, *, settings: ServeSettings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        with ExitStack() as stack:
            encoder, decoder = stack.enter_context(
                open_pair(
                    bundle,
                    flavor=settings.flavor,
                    device=settings.device,
                    threads=settings.threads,
                    trust_engine=settings.trust_engine,
                )
            )
            opened = Bundle.open(bundle)
            self.bundle = opened
            engines = {
                bundle_engine_model(opened, settings.name, "encoder"): as_it_is(encoder),
                bundle_engine_model(opened, settings.name, "decoder"): as_it_is(decoder),
            }
            if engine_files(settings.flavor)[0] not in PLANS:
                where = encoder.details.device.partition(" ")[0]
                for integers in (False, True) if opened.manifest.precision == EXACT else (False,):
                    canary = open_canary(
                        encoder.details.backend, device=where, threads=settings.threads, integers=integers
                    )
                    engines[canary_model(settings.name, integers=integers)] = stack.enter_context(canary)
            _warm_up(opened, encoder, decoder)
            self._models = {model.name: self._engine(model, engine) for model, engine in engines.items()}
            by_role = {model.described.role: model.batcher for model in self._models.values()}
            callers: tuple[tuple[ServedModel, str, Call], ...] = (
                (score_model(opened, settings.name), "encoder", score_call),
                (sample_model(opened, settings.name), "decoder", sample_call),
            )
            for described, role, call in callers:
                turns = Turns(most=_CALLS, queue=settings.queue, name=described.role)
                self._models[described.name] = _Model(
                    described=described, batcher=by_role[role], call=call, turns=turns
                )
            self._stack = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(self._models)

    def start(self) -> None:
        """Begin to take requests, in the event loop that is running."""
        for batcher in self._batchers():
            batcher.start()

    async def stop(self) -> None:
        """Refuse what still waits, and close the engines."""
        for batcher in self._batchers():
            await batcher.stop()
        for model in self._models.values():
            if model.turns is not None:
                await model.turns.stop()
        self._stack.close()

    @property
    def ready(self) -> bool:
        """Whether every engine takes requests."""
        return all(batcher.alive for batcher in self._batchers())

    def comes(self, name: str, body: object) -> None:
        """Note that something came of a request for a model: a batch waits a little for one that is on its way."""
        self._models[name].coming[body] = time.monotonic()

    def came(self, name: str, body: object) -> None:
        """Note that no more comes of a request: it is whole, or has failed."""
        model = self._models[name]
        model.coming.pop(body, None)
        model.batcher.wake()

    def describe(self, name: str) -> dict[str, Any] | None:
        """A model's metadata as the protocol has it, or None where there is no such model."""
        found = self._models.get(name)
        if found is None:
            return None
        model = found.described
        return {
            "name": name,
            "versions": ["1"],
            "platform": f"glow_deploy_{found.batcher.engine.details.backend}",
            **{
                side: [
                    {"name": entry.name, "datatype": datatype_of(entry.dtype), "shape": list(entry.shape)}
                    for entry in tensors
                ]
                for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs))
            },
        }

    def configure(self, name: str) -> dict[str, Any] | None:
        """A model's configuration in the form of Triton's extension, or None where there is no such model."""
        found = self._models.get(name)
        if found is None:
            return None
        model = found.described

        def tensors(side: tuple[ServedTensor, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "name": entry.name,
                    "data_type": f"TYPE_{datatype_of(entry.dtype)}",
                    "dims": list(entry.shape[1:] if model.batched else entry.shape),
                    "optional": entry.optional,
                }
                for entry in side
            ]

        manifest = self.bundle.manifest
        told = {} if model.role in _CANARIES else {MODEL_ID: manifest.model_id, PRECISION: manifest.precision}
        return {
            "name": name,
            "backend": found.batcher.engine.details.backend,
            "max_batch_size": found.most,
            "input": tensors(model.inputs),
            "output": tensors(model.outputs),
            "parameters": {key: {"string_value": value} for key, value in told.items()},
        }

    async def infer(self, name: str, tensors: Mapping[str, np.ndarray], *, until: float) -> Arrays:
        """Run a model.

        Args:
            name: of the model, which is there.
            tensors: its inputs.
            until: when it is too late, on the clock of `time.monotonic`.

        Raises:
            DataError: the inputs are not the model's.
            BusyError: too many requests wait.
            LateError: there was no answer in time.
            GlowDeployError: the model refuses them.
        """
        model = self._models[name]
        feeds = _checked(model.described, tensors)
        check_classes(model.batcher.engine, feeds)
        call, turns = model.call, model.turns
        if call is None or turns is None:
            rows = len(next(iter(feeds.values())))
            if not 1 <= rows <= model.most:
                raise DataError(f"{name} takes 1 to {model.most} rows, the request has {rows}")
            specs = {spec.name: spec.shape for spec in model.batcher.engine.inputs}
            flat = {key: array if specs[key] else array.reshape(-1) for key, array in feeds.items()}
            found = await model.batcher.run(flat, rows, until=until)
            return {key: array[:, None] if array.ndim == 1 else array for key, array in found.items()}
        loop = asyncio.get_running_loop()

        def work(gone: threading.Event) -> Arrays:
            return call(like_others(JoinedEngine(model.batcher, loop, until=until, gone=gone)), feeds)

        return await turns.run(work, until=until)

    def waiting(self) -> dict[str, int]:
        """Requests that wait, by the name of their model."""
        return {
            name: len(model.batcher if model.turns is None else model.turns) for name, model in self._models.items()
        }

    def _engine(self, model: ServedModel, engine: Engine) -> _Model:
        settings = self.settings
        batcher = Batcher(
            engine,
            max_rows=settings.max_batch,
            delay=settings.delay / 1000,
            queue=settings.queue,
            on_batch=lambda rows: self.metrics.ran(model.name, rows),
        )
        row = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in engine.inputs)
        most = min(settings.max_batch, (settings.max_body - min(_HEAD, settings.max_body // 2)) // row)
        if most < 1 and model.role not in _CANARIES:  # without its canary a server can still be judged
            raise UsageError(
                f"{model.name} takes rows of {row} bytes: max_body={settings.max_body} is too small for one"
            )
        found = _Model(described=model, batcher=batcher, most=max(1, most))
        batcher.arriving = partial(_arriving, found.coming, settings.delay / 1000)
        return found

    def _batchers(self) -> list[Batcher]:
        return [model.batcher for model in self._models.values() if model.call is None]


def deadline(parameters: Mapping[str, Any], settings: ServeSettings) -> float:
    """When a request is too late: the server's deadline, or the request's own `timeout` in microseconds if sooner."""
    asked = parameters.get("timeout")
    seconds = settings.deadline
    if type(asked) is int and asked > 0:
        seconds = min(seconds, min(asked, _LONGEST) / 1e6)
    return time.monotonic() + seconds


def server_metadata() -> dict[str, Any]:
    """What the server says about itself."""
    return {
        "name": "glow-deploy",
        "version": __version__,
        "extensions": ["binary_tensor_data", "model_configuration", "parameters"],
    }


def _arriving(coming: Mapping[object, float], delay: float) -> bool:
    """Tell whether a request is on its way and has not come to a halt."""
    since = time.monotonic() - delay
    return any(last >= since for last in coming.values())


def _checked(model: ServedModel, tensors: Mapping[str, np.ndarray]) -> Arrays:
    """The inputs, once their names, types and shapes are the model's; [N] will do where [N, 1] is said."""
    known = {entry.name: entry for entry in model.inputs}
    missing = [entry.name for entry in model.inputs if entry.name not in tensors and not entry.optional]
    unknown = [name for name in tensors if name not in known]
    if missing or unknown:
        words = "; ".join(
            f"{word}: {', '.join(names)}" for word, names in (("missing", missing), ("unknown", unknown)) if names
        )
        raise DataError(f"{model.name} takes {', '.join(known)}; {words}")
    feeds, rows = {}, set()
    for name, array in tensors.items():
        wanted = known[name]
        shape = array.shape if len(array.shape) == len(wanted.shape) or wanted.shape != (-1, 1) else (*array.shape, 1)
        fits = len(shape) == len(wanted.shape) and all(
            due in (-1, size) for due, size in zip(wanted.shape, shape, strict=True)
        )
        if array.dtype.name != wanted.dtype or not fits:
            raise DataError(
                f"{name} must be {datatype_of(wanted.dtype)} {json.dumps(list(wanted.shape))}, got "
                f"{datatype_of(array.dtype)} {json.dumps(list(array.shape))}"
            )
        feeds[name] = array.reshape(shape)
        rows.add(len(array))
    if model.batched and len(rows) > 1:
        raise DataError(f"{model.name}: all inputs must have the same number of rows, got {sorted(rows)}")
    return feeds


def _warm_up(bundle: Bundle, encoder: Engine, decoder: Engine) -> None:
    """Run a golden image through both engines, so that the first request finds them ready."""
    golden = bundle.golden()
    if golden is None:
        return
    y = {} if golden.y is None else {"y": golden.y[:1]}
    z = {f"z{level}": part[:1].astype(np.float32) for level, part in enumerate(golden.z, 1)}
    for engine, feeds in ((encoder, {"x": golden.x[:1]}), (decoder, z)):
        engine.run({**feeds, **y})


def trouble_status(error: GlowDeployError) -> int:
    """The HTTP status of an error."""
    from .batching import BusyError, LateError

    if isinstance(error, BusyError):
        return 503
    if isinstance(error, LateError):
        return 504
    return 400 if isinstance(error, (DataError, UsageError)) else 500
