"""A bundle with graphs, golden vectors, and plans of both flavours that nobody runs."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.artifact.sidecar import Sidecar, sidecar_path
from glow_deploy.export import ExportSettings, export


def _add_plans(folder):
    for role in ("encoder", "decoder"):
        data = (folder / f"{role}.onnx").read_bytes()
        graph = read_graph(data, source=role)
        for flavor, suffix in (("tensorrt", ".trt"), ("rtx", ".rtx.trt")):
            plan = f"{flavor} plan of the {role}".encode() * 20
            side = Sidecar(
                sha256=hashlib.sha256(plan).hexdigest(), onnx_sha256=hashlib.sha256(data).hexdigest(), flavor=flavor,
                version="11.0.0", tf32=False, version_compatible=False, hardware_compatible=False, profile=(1, 8, 32),
                gpus=("sm86",), metadata=graph.metadata, inputs=graph.inputs, outputs=graph.outputs,
            )  # fmt: skip
            path = folder / f"{role}{suffix}"
            path.write_bytes(plan)
            sidecar_path(path).write_text(replace(side).to_json())


@pytest.fixture(scope="session")
def two_bundles(perturbed_glow, tmp_path_factory):
    """Bundles of two models of one size."""
    folder = tmp_path_factory.mktemp("signing")
    for seed, name in enumerate(("one", "two")):
        glow = perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4), seed=seed)
        save_checkpoint(glow, folder / f"{name}.pt")
        export(folder / f"{name}.pt", out=folder / name, settings=ExportSettings(golden=3))
        _add_plans(folder / name)
    return folder / "one", folder / "two"


@pytest.fixture
def bundle(two_bundles, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(two_bundles[0], tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def signed(bundle, signing_keys):
    """The same, signed with `private.pem`."""
    from glow_deploy.signing import sign

    sign(bundle, key=signing_keys / "private.pem")
    return bundle


@pytest.fixture
def trust(signing_keys):
    from glow_deploy.signing import Trust

    return Trust(public_key=signing_keys / "public.pem")
