"""A small bundle, and a stand-in for the Hub that the client is pointed at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # stand_in.py is imported by name


@pytest.fixture(scope="session")
def bundle(perturbed_glow, tmp_path_factory):
    """8x8 RGB, 5 bit."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import export

    folder = tmp_path_factory.mktemp("hub")
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
    save_checkpoint(perturbed_glow(config), folder / "ckpt.pt")
    return export(folder / "ckpt.pt", out=folder / "bundle", golden=4).path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The stand-in; the client asks it, keeps its cache here, and is logged in. `hub.point` points it elsewhere."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the Hub needs the extra `hub`")
    from huggingface_hub import HfApi
    from stand_in import hub_server

    from glow_deploy.hub import pull, push

    def point(url, token="hf_secret"):
        for module in (push, pull):
            monkeypatch.setattr(sys.modules[module.__module__], "hub_api", lambda: HfApi(endpoint=url, token=token))

    with hub_server() as (found, url):
        for name, value in (("HF_HUB_CACHE", str(tmp_path / "cache")), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(constants, name, value)
        found.url, found.point = url, point
        point(url)
        yield found
