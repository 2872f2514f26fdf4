from __future__ import annotations

import dataclasses
import importlib
import typing

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.settings import settings_of

PAIRS = [
    ("glow_deploy.export.settings", "ExportSettings", "ExportOptions"),
    ("glow_deploy.compile.settings", "CompileSettings", "CompileOptions"),
    ("glow_deploy.verify.settings", "VerifySettings", "VerifyOptions"),
    ("glow_deploy.bench.settings", "BenchSettings", "BenchOptions"),
    ("glow_deploy.latents.sampling", "SampleSettings", "SampleOptions"),
]


@pytest.mark.parametrize(("module", "settings", "options"), PAIRS)
def test_the_keywords_are_the_fields_of_the_settings(module, settings, options):
    found = importlib.import_module(module)
    fields = {field.name for field in dataclasses.fields(getattr(found, settings))}
    assert (
        set(typing.get_type_hints(getattr(found, options), localns={"ImportOptions": object, "Weights": object}))
        == fields
    )


def test_either_way_but_not_both():
    from glow_deploy.latents import SampleSettings

    assert settings_of(None, {"seed": 3}, SampleSettings) == SampleSettings(seed=3)
    assert settings_of(SampleSettings(seed=4), {}, SampleSettings).seed == 4
    with pytest.raises(UsageError, match="either settings= or seed=, not both"):
        settings_of(SampleSettings(), {"seed": 3}, SampleSettings)
    with pytest.raises(UsageError, match=r"no such option.*sead"):
        settings_of(None, {"sead": 3}, SampleSettings)


def test_the_front_door_takes_keywords(tmp_path, perturbed_glow):
    import glow_deploy
    from glow_core import GlowConfig, save_checkpoint

    save_checkpoint(perturbed_glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=4)), tmp_path / "c.pt")
    bundle = glow_deploy.export(tmp_path / "c.pt", out=tmp_path / "b", golden=4, precision="mixed")
    assert bundle.manifest.precision == "mixed"
    report = glow_deploy.verify(bundle, backends=["onnxruntime-cpu"], random_draws=0, ckpt=str(tmp_path / "c.pt"))
    assert [backend.name for backend in report.backends if backend.used] == ["onnxruntime-cpu"]
    with pytest.raises(UsageError, match="unknown flavor"):
        glow_deploy.compile(bundle.path, flavor="other")
