from __future__ import annotations

import dataclasses

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.pytorch import read_model
from glow_deploy.engines.trained import Trained
from glow_deploy.errors import BundleError, UsageError


@pytest.fixture(scope="module")
def sound(making, tmp_path_factory):
    return making.export_model(tmp_path_factory.mktemp("sound"))


def test_facts_left_out_of_one_side_are_off(sound):
    """Either side may write down or leave out what the first releases did not know."""
    trained = Trained.of(Bundle.open(sound.bundle), sound.ckpt)
    written = {**trained.model, "edge_bias": False, "prior": "conditional"}
    assert "edge_bias" not in trained.model
    trained.check(written)
    dataclasses.replace(trained, model=written).check(trained.model)
    with pytest.raises(UsageError, match=r"\(edge_bias off, not on\)"):
        dataclasses.replace(trained, model={**written, "edge_bias": True}).check(trained.model)
    with pytest.raises(UsageError, match=r"\(glow none, not dim\)"):
        dataclasses.replace(trained, model={**written, "glow": "dim"}).check(trained.model)


def test_weights_are_those_that_the_bundle_was_made_of(sound):
    trained = Trained.of(Bundle.open(sound.bundle), sound.ckpt)
    assert trained.weights == Bundle.open(sound.bundle).manifest.weights


@pytest.mark.parametrize("options", [{"image_size": 8}, {"n_bits": 9}, {"width": 3}, {"scale_map": "other"}])
def test_a_manifest_that_tells_nonsense_is_bad_input(sound, options):
    trained = Trained.of(Bundle.open(sound.bundle), sound.ckpt)
    with pytest.raises(BundleError, match="export the model again"):
        read_model(dataclasses.replace(trained, options=options))
