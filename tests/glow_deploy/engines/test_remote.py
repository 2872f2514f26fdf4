"""An engine on a server: the same numbers as here, and everything that a server may have instead."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.open import open_engine
from glow_deploy.engines.remote import MODEL_ID, PRECISION, bundle_specs, open_remote, remote_canary
from glow_deploy.errors import BundleError, EngineError
from glow_deploy.kserve import datatype_of, parse_remote

ADDRESS = parse_remote("kserve=127.0.0.1:9/m")


class Server:
    """A client of a server that runs the engines of a bundle, with numbers a row as [N, 1] or as [N]."""

    def __init__(self, bundle, *, columns):
        self.bundle, self.columns, self.asked = Bundle.open(bundle), columns, []
        self.parameters = {MODEL_ID: self.bundle.manifest.model_id, PRECISION: self.bundle.manifest.precision}
        self.most, self.is_ready, self.spoil, self.models = 4, True, None, ("m-encoder", "m-decoder")

    def server(self):
        return {"name": "fake", "version": "1.0"}

    def ready(self):
        return self.is_ready

    def model(self, name):
        if name not in self.models:
            return None
        sides = bundle_specs(self.bundle, name.removeprefix("m-"))
        return {
            side: [
                {
                    "name": spec.name,
                    "datatype": datatype_of(spec.dtype),
                    "shape": [-1, *(spec.shape or ([1] if self.columns else []))],
                }
                for spec in specs
            ]
            for side, specs in zip(("inputs", "outputs"), sides, strict=True)
        }

    def config(self, name):
        if self.parameters is None:
            return None
        told = {key: {"string_value": value} for key, value in self.parameters.items()}
        return {"max_batch_size": self.most, "parameters": told, "backend": "fake"}

    def infer(self, name, tensors, *, values):
        self.asked.append({key: array.shape for key, array in tensors.items()})
        with open_engine(self.bundle.path / f"{name.removeprefix('m-')}.onnx", threads=1) as engine:
            flat = {spec.name: tensors[spec.name].reshape(-1, *spec.shape) for spec in engine.inputs}
            found = engine.run(flat)
        assert values == sum(array.size for array in found.values())
        found = {key: a[:, None] if a.ndim == 1 and self.columns else a for key, a in found.items()}
        return found if self.spoil is None else self.spoil(found)


@pytest.fixture
def server(remote_bundle):
    return Server(remote_bundle, columns=True)


@pytest.fixture(scope="module")
def remote_bundle(perturbed_glow, tmp_path_factory):
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import export

    folder = tmp_path_factory.mktemp("remote")
    config = GlowConfig(image_size=(8, 12), channels=1, levels=2, steps=2, width=8, n_bits=5, num_classes=3)
    save_checkpoint(perturbed_glow(config), folder / "c.pt")
    return export(folder / "c.pt", out=folder / "bundle", golden=6).path


def engine(server, role="encoder"):
    return open_remote(server.bundle, ADDRESS, client=server, backend="kserve=x", role=role)


@pytest.mark.parametrize("columns", [True, False])
def test_the_numbers_are_those_of_the_local_engines(remote_bundle, columns):
    server = Server(remote_bundle, columns=columns)
    golden = server.bundle.golden()
    with open_engine(remote_bundle / "encoder.onnx") as local:
        wanted = local.run({"x": golden.x, "y": golden.y})
    found = engine(server).run({"x": golden.x, "y": golden.y})
    assert [shapes["x"][0] for shapes in server.asked] == [3, 3]  # at most 4 rows, as the server says
    assert server.asked[0]["y"] == ((3, 1) if columns else (3,))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-4)
    z = {name: array for name, array in found.items() if name[0] == "z"}
    back = engine(server, "decoder").run({**z, "y": golden.y})["x"]
    assert np.abs(back - golden.x).max() < 1e-4


def test_what_is_known_is_told(server):
    details = engine(server).details
    assert (details.provider, details.device, details.max_batch) == ("fake in fake", "127.0.0.1:9", 4)
    assert details.versions == {"fake": "1.0"}
    server.parameters = None
    assert engine(server).details.max_batch is None


def change(server, **attributes):
    for name, value in attributes.items():
        setattr(server, name, value)


def of_other_shapes(server):
    other = server.model
    server.model = lambda name: {**other(name), "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]}


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        (lambda s: change(s, models=()), EngineError, "no model m-encoder"),
        (lambda s: change(s, is_ready=False), EngineError, "is not ready"),
        (lambda s: change(s, is_ready=False, models=()), EngineError, "is not ready"),
        (lambda s: s.parameters.update({MODEL_ID: "f" * 64}), BundleError, "another model"),
        (lambda s: s.parameters.update({PRECISION: "mixed\n"}), BundleError, "precision mixed"),
        (of_other_shapes, EngineError, r"takes FP32 \[-1, 1, 8, 8\] for x"),
        (lambda s: change(s, model=lambda name: {"inputs": [{"name": [1]}]}), EngineError, "without a name"),
        (lambda s: change(s, model=lambda name: {"inputs": [["x"]]}), EngineError, "without a name"),
        (lambda s: change(s, model=lambda name: {"inputs": 3}), EngineError, "takes none for x"),
    ],
)
def test_a_server_with_something_else_is_refused(server, trouble, kind, said):
    trouble(server)
    with pytest.raises(kind, match=said) as refusal:
        engine(server)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: {**found, "z1": found["z1"][:-1]},
        lambda found: {**found, "z1": found["z1"].astype(np.float64)},
        lambda found: {key: array for key, array in found.items() if key != "log_prob"},
        lambda found: {**found, "log_prob": found["log_prob"].reshape(1, -1)},
    ],
)
def test_answers_of_other_shapes_are_refused(server, spoil):
    server.spoil = spoil
    golden = server.bundle.golden()
    with pytest.raises(EngineError):
        engine(server).run({"x": golden.x[:3], "y": golden.y[:3]})


def test_a_canary_is_run_where_there_is_one(server):
    assert remote_canary(ADDRESS, client=server) is None
    server.models, server.model = ("m-canary",), lambda name: {}
    server.infer = lambda name, tensors, **_: {"x": tensors["z1"] * 2}
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(remote_canary(ADDRESS, client=server)(x), x * 2)
    server.infer = lambda name, tensors, **_: {"x": tensors["z1"][0]}
    with pytest.raises(EngineError, match="no canary"):
        remote_canary(ADDRESS, client=server)(x)
