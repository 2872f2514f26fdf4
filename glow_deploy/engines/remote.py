"""Engines that a server runs, asked over the Open Inference Protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import BundleError, EngineError
from glow_deploy.kserve import Address, KServeClient, datatype_of
from glow_deploy.kserve.address import model_name
from glow_deploy.printable import shown
from glow_deploy.protocol import EngineDetails, Role, TensorSpec

from .base import EngineBase

__all__ = ["MODEL_ID", "PRECISION", "RemoteEngine", "bundle_specs", "open_remote", "remote_canary"]

MODEL_ID, PRECISION = "glow_deploy.model_id", "glow_deploy.precision"
"""Parameters of a served model's configuration, which tell whose it is."""

_ROWS = 64  # of a request to a server that does not say how many it takes


class RemoteEngine(EngineBase):
    """A model on a server.

    Args:
        client: of the server; shared, and not closed here.
        model: its name there.
        told: what the server says about it.
        details: what is known about where it runs.
        role: of the engine, as for all that follow.
        n_bits: likewise.
        inputs: likewise.
        outputs: likewise.
        num_classes: likewise.

    Raises:
        EngineError: the server's model takes or gives something else.
    """

    def __init__(
        self,
        client: KServeClient,
        *,
        model: str,
        told: Mapping[str, Any],
        details: EngineDetails,
        role: Role,
        n_bits: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        num_classes: int | None = None,
    ) -> None:
        self._client, self._model = client, model
        self._columns = _match(inputs, told.get("inputs"), model, details.device, "takes")
        _match(outputs, told.get("outputs"), model, details.device, "gives")
        super().__init__(
            role=role,
            n_bits=n_bits,
            inputs=inputs,
            outputs=outputs,
            details=details,
            num_classes=num_classes,
            most_rows=details.max_batch or _ROWS,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        feeds = {name: array[:, None] if name in self._columns else array for name, array in arrays.items()}
        values = batch * sum(math.prod(spec.shape) for spec in self._outputs)
        found = self._client.infer(self._model, feeds, values=values)
        for spec in self._outputs:
            array = found.get(spec.name)
            if array is None:
                continue  # said by the caller, with what was due
            if array.dtype != np.dtype(spec.dtype):
                raise EngineError(f"{self._model} gave {spec.name} as {array.dtype}, {spec.dtype} is due")
            if not spec.shape and array.shape == (batch, 1):
                found[spec.name] = array[:, 0]
        return found

    def _close(self) -> None:
        pass


def open_remote(bundle: Bundle, address: Address, *, client: KServeClient, backend: str, role: Role) -> RemoteEngine:
    """Make an engine of what a server runs, once it has been compared with what a bundle holds.

    Args:
        bundle: that the server's model should be.
        address: of the server.
        client: of it.
        backend: the name that was asked for.
        role: which of the two models.

    Raises:
        EngineError: the server is gone, not ready, or has no such model, or one of other shapes.
        BundleError: it serves another model, or this one in another precision.
    """
    name, host = model_name(address.name, role), address.host
    if not client.ready():  # before anything else: a server that is loading denies its models
        raise EngineError(f"{host} is not ready; wait until it has loaded its models")
    told = client.model(name)
    if told is None:
        raise EngineError(
            f"{host} has no model {name}: `glow-deploy triton {bundle.path}` and `glow-deploy serve {bundle.path}` "
            "serve one; a name other than glow is given as triton=HOST:PORT/NAME"
        )
    config = client.config(name) or {}
    known = _parameters(config)
    if known.get(MODEL_ID, bundle.manifest.model_id) != bundle.manifest.model_id:
        raise BundleError(
            f"{name} at {host} is model {shown(known[MODEL_ID], longest=12)} and {bundle.path} is "
            f"{bundle.manifest.model_id[:12]}: it serves another model; give its bundle, or serve this one"
        )
    precision = known.get(PRECISION, bundle.manifest.precision)
    if precision != bundle.manifest.precision:
        raise BundleError(
            f"{name} at {host} is of precision {shown(precision)}, {bundle.path} of {bundle.manifest.precision}: give "
            "the bundle that it was made from"
        )
    inputs, outputs = bundle_specs(bundle, role)
    server = client.server()
    most = config.get("max_batch_size")
    runs = config.get("backend") or told.get("platform") or "unknown"
    return RemoteEngine(
        client,
        model=name,
        told=told,
        role=role,
        n_bits=bundle.manifest.n_bits,
        inputs=inputs,
        outputs=outputs,
        num_classes=bundle.manifest.num_classes,
        details=EngineDetails(
            backend=backend,
            provider=f"{shown(runs)} in {shown(server.get('name', 'a server'))}",
            device=host,
            precision=precision,
            tf32=True,  # nothing says that it is off; the canary measures it
            versions={shown(server.get("name", "server")): shown(server.get("version", "unknown"))},
            max_batch=most if type(most) is int and most > 0 else None,
        ),
    )


def remote_canary(
    address: Address, *, client: KServeClient, role: str = "canary"
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None:
    """Return a function that runs the canary on a server, or None where it serves none.

    It takes and gives what the canary's graph does, `z1` to `x`, both of one shape.

    Args:
        address: of the server.
        client: of it.
        role: `canary`, or `integers` for that of integers.

    Raises:
        EngineError: the server is gone.
    """
    name = model_name(address.name, role)
    if client.model(name) is None:
        return None

    def run(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found = client.infer(name, {"z1": x}, values=x.size).get("x")
        if found is None or found.shape != x.shape or found.dtype != x.dtype:
            raise EngineError(f"{name} at {address.host} is no canary of this release: write its repository again")
        return found

    return run


def bundle_specs(bundle: Bundle, role: Role) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What a bundle's engine takes and gives, as its manifest says; latents in order.

    Of an exact bundle these are the tensors of its graphs: integers, and what goes with them.
    """

    def side(which: str) -> tuple[TensorSpec, ...]:
        found = bundle.manifest.tensors[role][which]
        specs = [TensorSpec(name=name, dtype=spec["dtype"], shape=tuple(spec["shape"])) for name, spec in found.items()]
        return tuple(sorted(specs, key=lambda spec: _place(spec.name)))

    return side("inputs"), side("outputs")


def _place(name: str) -> tuple[int, int]:
    """Where a tensor stands among others: picture, latents, what exact graphs have beside them, numbers, labels."""
    known = {"x": 0, "as_normal": 3, "log_prob": 4, "in_range": 5, "y": 6}
    if name in known:
        return known[name], 0
    return (2 if name.startswith("normal") else 1), int(name.removeprefix("normal").removeprefix("z"))


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    found = config.get("parameters")
    entries = found.items() if isinstance(found, dict) else ()
    told = {key: value.get("string_value") for key, value in entries if isinstance(value, dict)}
    return {key: value for key, value in told.items() if isinstance(value, str)}


def _match(specs: Sequence[TensorSpec], told: Any, model: str, host: str, verb: str) -> set[str]:
    """Compare tensors with what a server says, and return those of one number a row that it wants as [N, 1]."""
    found: dict[str, tuple[Any, Any]] = {}
    for entry in told if isinstance(told, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise EngineError(
                f"{model} at {host} {verb} a tensor without a name: its description is not the protocol's"
            )
        found[name] = (entry.get("datatype"), entry.get("shape"))
    columns = set()
    for spec in specs:
        datatype, shape = found.get(spec.name, (None, None))
        if not spec.shape and shape == [-1, 1]:
            columns.add(spec.name)
            shape = [-1]
        if datatype != datatype_of(spec.dtype) or shape != [-1, *spec.shape]:
            due = f"{datatype_of(spec.dtype)} {[-1, *spec.shape]}"
            held = "none" if datatype is None else f"{shown(datatype)} {shown(shape)}"
            raise EngineError(f"{model} at {host} {verb} {held} for {spec.name}, the bundle's {due}: another model?")
    return columns
