from __future__ import annotations

import pytest

from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.artifact.sidecar import Sidecar, sidecar_path
from glow_deploy.errors import BundleError, EngineError


def write_sidecar(plan, metadata):
    sidecar = Sidecar(
        sha256="1" * 64,
        onnx_sha256="2" * 64,
        flavor="rtx",
        version="1.7.1.116",
        tf32=False,
        version_compatible=False,
        hardware_compatible=False,
        profile=(1, 1, 1),
        gpus=(),
        metadata=metadata,
        inputs=(),
        outputs=(),
    )
    sidecar_path(plan).write_text(sidecar.to_json())


def test_both_graphs_of_a_model_carry_one_id(tmp_path, tiny):
    for name, model in (("e", tiny.encoder(model_id="a" * 64)), ("d", tiny.decoder(model_id="a" * 64))):
        (tmp_path / name).write_bytes(model.SerializeToString())
        assert engine_model_id(tmp_path / name) == "a" * 64


@pytest.mark.parametrize("magic", [b"vtrt", b"ftrt"])
def test_a_plan_is_known_by_its_sidecar_and_never_read(magic, tmp_path, tiny):
    plan = tmp_path / "encoder.trt"
    plan.write_bytes(magic + b"nothing of a plan")
    assert engine_model_id(plan) is None
    write_sidecar(plan, {**tiny.METADATA, "glow_deploy.role": "encoder", "glow_deploy.model_id": "b" * 64})
    assert engine_model_id(plan) == "b" * 64
    write_sidecar(plan, {})
    with pytest.raises(BundleError, match=r"encoder\.trt\.json: not a graph of glow-deploy"):
        engine_model_id(plan)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no graph")
    with pytest.raises(BundleError, match="text"):
        engine_model_id(tmp_path / "text")
    with pytest.raises(EngineError, match="gone cannot be read: No such file"):
        engine_model_id(tmp_path / "gone")
