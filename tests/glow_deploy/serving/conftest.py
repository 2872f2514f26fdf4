"""Small perturbed models in bundles."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # fake_triton.py is imported by name


@pytest.fixture(scope="session")
def make_bundle(perturbed_glow, tmp_path_factory):
    """Export a small model; keyword arguments go to its config."""

    def make(name, *, golden=6, precision="fp32", native=None, **config):
        from glow_core import GlowConfig, save_checkpoint
        from glow_deploy.export import ExportSettings, export

        folder = tmp_path_factory.mktemp(name)
        settings = {"image_size": (8, 8), "levels": 2, "steps": 2, "width": 8, "n_bits": 5, **config}
        save_checkpoint(perturbed_glow(GlowConfig(**settings)), folder / "ckpt.pt")
        export(
            folder / "ckpt.pt",
            out=folder / name,
            settings=ExportSettings(golden=golden, precision=precision, native=native),
        )
        return folder / name

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle):
    """Affine, 16x8 RGB, 5 bit, two levels."""
    return make_bundle("rgb", image_size=(16, 8))


@pytest.fixture(scope="session")
def other_bundle(make_bundle):
    """Of the same shapes, another model."""
    return make_bundle("other", image_size=(16, 8), coupling="additive")


@pytest.fixture(scope="session")
def class_bundle(make_bundle):
    """Additive, grey, three classes, three levels."""
    return make_bundle("classes", channels=1, num_classes=3, levels=3, coupling="additive", n_bits=8)


@pytest.fixture(scope="session")
def exact_bundle(make_bundle):
    """Integers: grey, two classes."""
    return make_bundle("exact", channels=1, num_classes=2, coupling="additive", precision="exact")
