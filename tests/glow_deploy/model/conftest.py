from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, perturbed_glow):
    """Bundles of a model without classes, of one with three, and of a grey one that is not square."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy import export

    folder = tmp_path_factory.mktemp("models")
    configs = {
        "plain": GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5),
        "classes": GlowConfig(image_size=(8, 8), levels=2, steps=1, width=8, n_bits=8, num_classes=3),
        "grey": GlowConfig(image_size=(4, 8), channels=1, levels=1, steps=2, width=8, n_bits=8, coupling="additive"),
    }
    found = {}
    for name, config in configs.items():
        save_checkpoint(perturbed_glow(config), folder / f"{name}.pt")
        found[name] = export(folder / f"{name}.pt", out=folder / name, golden=4).path
    return found
