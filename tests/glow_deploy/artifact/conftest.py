from __future__ import annotations

import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.export import ExportSettings, export


@pytest.fixture(scope="module")
def exported(perturbed_glow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    save_checkpoint(perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4)), folder / "c.pt")
    return export(folder / "c.pt", out=folder / "b", settings=ExportSettings(golden=3))


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy that a test may damage."""
    for path in exported.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
