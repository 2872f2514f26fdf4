"""Small perturbed models in bundles, and sites made of them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # browsing.py is imported by name


@pytest.fixture(scope="session")
def make_bundle(perturbed_glow, tmp_path_factory):
    """Export a small model; keyword arguments go to its config, `precision` and `golden` to the export."""

    def make(name, *, precision="fp32", golden=6, **config):
        from glow_core import GlowConfig, save_checkpoint
        from glow_deploy.export import ExportSettings, export

        folder = tmp_path_factory.mktemp(name)
        settings = {"image_size": (8, 8), "levels": 2, "steps": 2, "width": 16, "n_bits": 5, **config}
        save_checkpoint(perturbed_glow(GlowConfig(**settings)), folder / "ckpt.pt")
        export(folder / "ckpt.pt", out=folder / name, settings=ExportSettings(golden=golden, precision=precision))
        return folder / name

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle):
    """8x8 RGB, 5 bit, two levels: its first convolutions have 6 channels, its second level 12."""
    return make_bundle("rgb")


@pytest.fixture
def stand_in(monkeypatch):
    """Files with no runtime in them, for tests that only write a site."""
    from glow_deploy.engines.web_runtime import WASM
    from glow_deploy.web import site

    def files(source=None, *, files=WASM, fetch=True):
        return {file.name: hashlib.sha256(file.name.encode()).digest() for file in files}

    monkeypatch.setattr(site, "web_runtime", files)


@pytest.fixture(scope="session")
def runtime():
    """The package itself: from the cache, or fetched."""
    from glow_deploy.engines.web_runtime import WASM, WEBGPU, web_runtime
    from glow_deploy.errors import MissingDependencyError

    try:
        web_runtime(files=(*WASM, *WEBGPU))
    except MissingDependencyError as error:
        pytest.skip(str(error))
