from __future__ import annotations

from model_graphs import graphs_of

from glow_core import GlowConfig


def test_metadata_describes_a_lone_file(perturbed_glow):
    config = GlowConfig(image_size=(8, 16), levels=2, steps=2, width=8, n_bits=5, num_classes=3, coupling="additive")
    graphs = graphs_of(perturbed_glow(config))
    props = {role: {p.key: p.value for p in model.metadata_props} for role, model in graphs.items()}
    assert props["encoder"].pop("glow_deploy.role") == "encoder"
    assert props["decoder"].pop("glow_deploy.role") == "decoder"
    assert props["encoder"] == props["decoder"]
    assert props["encoder"]["glow_deploy.image_size"] == "8x16"
    assert props["encoder"]["glow_deploy.n_bits"] == "5"
    assert props["encoder"]["glow_deploy.num_classes"] == "3"
    assert len(props["encoder"]["glow_deploy.model_id"]) == 64
