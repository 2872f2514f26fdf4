from __future__ import annotations

import pytest

from glow_deploy.errors import UnsoundModelError
from glow_deploy.export import ExportSettings, export

FEW = ExportSettings(golden=5)


@pytest.fixture
def batches(monkeypatch):
    """The sizes at which encoders are run."""
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

    whole, sizes = OnnxRuntimeEngine.run, []

    def run(self, feeds):
        if "x" in feeds:
            sizes.append(len(feeds["x"]))
        return whole(self, feeds)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)
    return sizes


@pytest.mark.parametrize("golden", [1, 2, 7, None])
def test_the_self_check_runs_batches_of_1_2_and_3_however_few_images_there_are(checkpoint, tmp_path, batches, golden):
    bundle = export(checkpoint, out=tmp_path / "b", settings=ExportSettings(golden=golden))
    assert batches == [1, 2, 3]
    assert bundle.manifest.numerics.self_check.batches == (1, 2, 3)


def test_the_manifest_tells_the_batches_really_run(checkpoint, tmp_path, batches, monkeypatch):
    from glow_deploy.export import examine

    monkeypatch.setattr(examine, "_CHECKED", 4)
    bundle = export(checkpoint, out=tmp_path / "b", settings=FEW)
    assert batches == [1, 2, 2]
    assert bundle.manifest.numerics.self_check.batches == (1, 2)


def test_a_graph_that_disagrees_with_the_model_is_refused(checkpoint, tmp_path, monkeypatch):
    """The self-check can fail: an encoder built from a slightly wrong 1x1 does not pass."""
    import glow_deploy.graphs.encoder as module

    original = module._reorder_inputs
    monkeypatch.setattr(module, "_reorder_inputs", lambda conv: _scaled(original(conv), 1.001))
    with pytest.raises(UnsoundModelError, match="z1"):
        export(checkpoint, out=tmp_path / "b", settings=FEW)
    assert not (tmp_path / "b").exists()


def _scaled(conv, factor):
    from dataclasses import replace

    return replace(conv, weight=conv.weight * factor)
