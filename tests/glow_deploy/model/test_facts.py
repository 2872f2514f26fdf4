from __future__ import annotations

import pytest

import glow_deploy


def test_facts(bundles):
    with glow_deploy.load(bundles["plain"]) as model:
        assert model.image_shape == (3, 8, 8)
        assert (model.channels, model.image_size, model.path) == (3, (8, 8), bundles["plain"])
        assert model.latent_shapes == ((6, 4, 4), (24, 2, 2))
        assert (model.n_bits, model.num_classes, model.precision) == (5, None, "fp32")
        assert (model.backend, model.device, model.closed) == ("onnxruntime-cpu", "cpu", False)
        assert repr(model).startswith("DeployedGlow(")
        assert repr(model).endswith("3x8x8, 5 bits, 2 levels, fp32 on onnxruntime-cpu)")
    with glow_deploy.load(bundles["classes"]) as other:
        assert "3 classes" in repr(other)


@pytest.mark.parametrize("name", ["plain", "classes"])
def test_a_notebook_shows_the_facts(bundles, name):
    with glow_deploy.load(bundles[name]) as model:
        page = model._repr_html_()
    assert "<td>onnxruntime-cpu, cpu</td>" in page
    assert "<td>z1 6x4x4, z2 24x2x2</td>" in page
    assert f"<td>classes</td><td>{'none' if name == 'plain' else 3}</td>" in page
    assert "<td>nothing: closed</td>" in model._repr_html_()
